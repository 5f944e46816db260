// Activations to 8 bits.
#include <bit>
#include <limits>

#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"

namespace lfm::cpu::neon {
namespace {

constexpr float kSmallestNormal = 0x1p-126f;
constexpr std::uint32_t kInfinityBits = 0x7f800000;

/// 16 quotients, rounded to nearest even.
inline int8x16_t round_to_bytes(const float32x4_t* x, float scale) {
    int16x4_t q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) q[i] = vmovn_s32(vcvtnq_s32_f32(vdivq_f32(x[i], vdupq_n_f32(scale))));
    return vcombine_s8(vmovn_s16(vcombine_s16(q[0], q[1])), vmovn_s16(vcombine_s16(q[2], q[3])));
}

}  // namespace

void quantise(const float* x, std::size_t n, ActivationBlock* to) {
    for (std::size_t i = 0; i < n; i += ActivationBlock::kSize, ++to) {
        // Magnitudes compared as integers: the same order, with infinity and the NaNs above all numbers.
        float32x4_t block[8];
        uint32x4_t magnitudes = vdupq_n_u32(0);
#pragma GCC unroll 8
        for (int part = 0; part < 8; ++part) {
            block[part] = vld1q_f32(x + i + 4 * part);
            magnitudes = vmaxq_u32(magnitudes, vandq_u32(vreinterpretq_u32_f32(block[part]), vdupq_n_u32(0x7fffffff)));
        }
        const std::uint32_t largest = vmaxvq_u32(magnitudes);
        float block_scale = std::bit_cast<float>(largest) / 127;
        if (block_scale < kSmallestNormal) block_scale = 0;  // a subnormal scale is too coarse for |q| <= 127
        if (largest >= kInfinityBits) block_scale = std::numeric_limits<float>::quiet_NaN();
        to->scale = block_scale;
        for (int half = 0; half < 2; ++half) {
            const int8x16_t bytes = block_scale > 0 ? round_to_bytes(block + 4 * half, block_scale) : vdupq_n_s8(0);
            vst1q_s8(to->q + 16 * half, bytes);
            to->sum[half] = vaddlvq_s8(bytes);
        }
    }
}

}  // namespace lfm::cpu::neon
