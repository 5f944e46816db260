// Streams of NEON's kernels: one instruction multiplies, sums and widens, whatever the type.
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"
#include "backends/cpu/kernels/stream_chains.h"

namespace lfm::cpu::neon {
namespace {

constexpr int kChains = 16;

void multiply_bytes(std::uint64_t rounds) {
    const int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(5);
    run_chains<int32x4_t, kChains>(rounds, [&](int32x4_t& sum) {
        sum = vdotq_laneq_s32(sum, w, x, 1);
        __asm__ volatile("" : "+w"(sum));
    });
}

void multiply_floats(std::uint64_t rounds) {
    const float32x4_t w = vdupq_n_f32(0.5f), x = vdupq_n_f32(0.25f);
    run_chains<float32x4_t, kChains>(rounds, [&](float32x4_t& sum) {
        sum = vfmaq_f32(sum, w, x);
        __asm__ volatile("" : "+w"(sum));
    });
}

}  // namespace

MultiplyStream multiply_stream(DType type) {
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ8_0:
        case DType::kQ4_K:
        case DType::kQ5_K:
        case DType::kQ6_K: return {multiply_bytes, kChains * 16};
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16: return {multiply_floats, kChains * 4};
        default: return {};
    }
}

}  // namespace lfm::cpu::neon
