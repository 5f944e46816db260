// F32, F16 and BF16 weights.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"
#include "backends/cpu/kernels/float_matmul.h"

namespace lfm::cpu::avx2 {
namespace {

struct Target {
    using Vector = __m256;
    static constexpr std::uint32_t kWidth = 8;
    static constexpr std::uint32_t kTokens = 3;  // twelve sums, three activations, one weight

    static Vector zero() { return _mm256_setzero_ps(); }
    static Vector load(const float* x) { return _mm256_loadu_ps(x); }
    static Vector load_first(const float* x, std::uint32_t n) { return _mm256_maskload_ps(x, first_lanes(n)); }
    static Vector add_product(Vector sum, Vector a, Vector b) { return _mm256_fmadd_ps(a, b, sum); }
    static float add_lanes(Vector v) { return avx2::add_lanes(v); }
};

struct F32 {
    static constexpr std::size_t kBytes = 4;
    static __m256 load(const std::byte* w) { return _mm256_castsi256_ps(load32(w)); }
};
struct F16 {
    static constexpr std::size_t kBytes = 2;
    static __m256 load(const std::byte* w) { return _mm256_cvtph_ps(load16(w)); }
};
struct BF16 {
    static constexpr std::size_t kBytes = 2;
    static __m256 load(const std::byte* w) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(w)), 16));
    }
};

}  // namespace

void matmul_f32(const MatmulTile& tile) { FloatMatmul<Target, F32>::run(tile); }
void matmul_f16(const MatmulTile& tile) { FloatMatmul<Target, F16>::run(tile); }
void matmul_bf16(const MatmulTile& tile) { FloatMatmul<Target, BF16>::run(tile); }

}  // namespace lfm::cpu::avx2
