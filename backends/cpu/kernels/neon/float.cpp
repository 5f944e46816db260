// F32, F16 and BF16 weights.
#include "backends/cpu/kernels/float_matmul.h"
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"

namespace lfm::cpu::neon {
namespace {

struct Target {
    using Vector = float32x4_t;
    static constexpr std::uint32_t kWidth = 4;
    static constexpr std::uint32_t kTokens = 6;  // 24 sums, six activations, one weight

    static Vector zero() { return vdupq_n_f32(0); }
    static Vector load(const float* x) { return vld1q_f32(x); }
    static Vector load_first(const float* x, std::uint32_t n) {
        float lanes[kWidth] = {};
        for (std::uint32_t i = 0; i < n; ++i) lanes[i] = x[i];
        return vld1q_f32(lanes);
    }
    static Vector add_product(Vector sum, Vector a, Vector b) { return vfmaq_f32(sum, a, b); }
    static float add_lanes(Vector v) { return vaddvq_f32(v); }
};

inline uint16x4_t load_halves(const std::byte* w) { return vld1_u16(reinterpret_cast<const std::uint16_t*>(w)); }

struct F32 {
    static constexpr std::size_t kBytes = 4;
    static float32x4_t load(const std::byte* w) { return vreinterpretq_f32_u8(load16(w)); }
};
struct F16 {
    static constexpr std::size_t kBytes = 2;
    static float32x4_t load(const std::byte* w) { return widen_f16(load_halves(w)); }
};
struct BF16 {
    static constexpr std::size_t kBytes = 2;
    static float32x4_t load(const std::byte* w) { return vreinterpretq_f32_u32(vshll_n_u16(load_halves(w), 16)); }
};

}  // namespace

void matmul_f32(const MatmulTile& tile) { FloatMatmul<Target, F32>::run(tile); }
void matmul_f16(const MatmulTile& tile) { FloatMatmul<Target, F16>::run(tile); }
void matmul_bf16(const MatmulTile& tile) { FloatMatmul<Target, BF16>::run(tile); }

}  // namespace lfm::cpu::neon
