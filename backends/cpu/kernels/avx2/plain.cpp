// Types without an AVX2 kernel of their own: the plain one, its inner product in vectors.
#include <immintrin.h>

#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/plain_matmul.h"

namespace lfm::cpu::avx2 {
namespace {

struct Target {
    static float f16(std::uint16_t half) { return _cvtsh_ss(half); }

    static void dot_16(const std::int8_t* level, const std::int8_t* q, std::int32_t (&dot)[2]) {
        for (int half = 0; half < 2; ++half) {
            const auto widen = [half](const std::int8_t* from) {
                return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * half)));
            };
            const __m256i eights = _mm256_madd_epi16(widen(level), widen(q));
            __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(eights), _mm256_extracti128_si256(eights, 1));
            sum = _mm_add_epi32(sum, _mm_srli_si128(sum, 8));
            dot[half] = _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 1);
        }
    }
};

}  // namespace

void matmul_q4_1(const MatmulTile& tile) { PlainMatmul<Target, BlockQ4_1>::run(tile); }
void matmul_q5_0(const MatmulTile& tile) { PlainMatmul<Target, BlockQ5_0>::run(tile); }
void matmul_q5_1(const MatmulTile& tile) { PlainMatmul<Target, BlockQ5_1>::run(tile); }
void matmul_q2_k(const MatmulTile& tile) { PlainMatmul<Target, BlockQ2_K>::run(tile); }
void matmul_q3_k(const MatmulTile& tile) { PlainMatmul<Target, BlockQ3_K>::run(tile); }
void matmul_iq4_nl(const MatmulTile& tile) { PlainMatmul<Target, BlockIQ4_NL>::run(tile); }
void matmul_iq4_xs(const MatmulTile& tile) { PlainMatmul<Target, BlockIQ4_XS>::run(tile); }
void matmul_mxfp4(const MatmulTile& tile) { PlainMatmul<Target, BlockMXFP4>::run(tile); }

}  // namespace lfm::cpu::avx2
