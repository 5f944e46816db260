// F32, F16 and BF16 weights.
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/avx512/lanes.h"
#include "backends/cpu/kernels/float_matmul.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

struct Target {
    using Vector = __m512;
    static constexpr std::uint32_t kWidth = 16;
    static constexpr std::uint32_t kTokens = 6;  // 24 sums, six activations, one weight

    static Vector zero() { return _mm512_setzero_ps(); }
    static Vector load(const float* x) { return _mm512_loadu_ps(x); }
    static Vector load_first(const float* x, std::uint32_t n) { return LFM_AVX512_NAMESPACE::load_first(x, n); }
    static Vector add_product(Vector sum, Vector a, Vector b) { return _mm512_fmadd_ps(a, b, sum); }
    static float add_lanes(Vector v) { return LFM_AVX512_NAMESPACE::add_lanes(v); }
};

inline __m256i load32(const std::byte* w) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)); }

struct F32 {
    static constexpr std::size_t kBytes = 4;
    static __m512 load(const std::byte* w) { return _mm512_castsi512_ps(load64(w)); }
};
struct F16 {
    static constexpr std::size_t kBytes = 2;
    static __m512 load(const std::byte* w) { return widen_f16(load32(w)); }
};
struct BF16 {
    static constexpr std::size_t kBytes = 2;
    static __m512 load(const std::byte* w) { return widen_bf16(load32(w)); }
};

}  // namespace

void matmul_f32(const MatmulTile& tile) { FloatMatmul<Target, F32>::run(tile); }
void matmul_f16(const MatmulTile& tile) { FloatMatmul<Target, F16>::run(tile); }
void matmul_bf16(const MatmulTile& tile) { FloatMatmul<Target, BF16>::run(tile); }

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
