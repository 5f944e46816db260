// Activations to 8 bits in blocks of 32, as backends/cpu/kernels.h defines it: eight lanes a block.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

struct QuantisedFour {
    std::uint32_t q;          // four signed bytes
    float scale;              // of the block
    std::int32_t sum_of_run;  // of the 16 neighbours that begin at a multiple of 16
};

/// Four of 32 neighbouring values by each of eight neighbouring lanes. All lanes of the warp call it.
__device__ inline QuantisedFour quantise_four(const float (&values)[4]) {
    std::uint32_t largest = 0;  // magnitudes as integers: the same order, and above all of them infinity and the NaNs
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint32_t magnitude = bits_of_float(values[i]) & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    for (std::uint32_t mask = 1; mask < 8; mask *= 2) {
        const std::uint32_t other = lane_xor(largest, mask);
        largest = other > largest ? other : largest;
    }
    const bool is_finite = largest < 0x7f800000;
    float scale = is_finite ? float_of_bits(largest) / 127.0f : 0.0f;
    if (scale < 1.17549435e-38f) scale = 0;  // a subnormal scale is too coarse to keep |q| within 127
    QuantisedFour result{0, is_finite ? scale : float_of_bits(0x7fc00000), 0};
    if (scale != 0) {
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            const std::int32_t level = static_cast<std::int32_t>(round_to_even(values[i] / scale));
            result.sum_of_run += level;
            result.q |= (static_cast<std::uint32_t>(level) & 0xff) << 8 * i;
        }
    }
    for (std::uint32_t mask = 1; mask < 4; mask *= 2) result.sum_of_run += lane_xor(result.sum_of_run, mask);
    return result;
}

/// Stores what eight lanes made of block `block`; `of_block` says which of them this is. All lanes of the warp call it.
__device__ inline void store_block(const QuantisedFour& four, std::uint32_t block, std::uint32_t of_block, bool wanted,
                                   Words4* q, float* scales, std::uint32_t* sums) {
    const std::int32_t other_run = lane_xor(four.sum_of_run, 4);
    if (!wanted) return;
    q[2 * block + of_block / 4].at[of_block % 4] = four.q;
    if (of_block != 0) return;
    scales[block] = four.scale;
    sums[block] = (static_cast<std::uint32_t>(four.sum_of_run) & 0xffff) | static_cast<std::uint32_t>(other_run) << 16;
}

/// One of the two sums in a word.
__device__ inline std::int32_t sum_of_run(std::uint32_t sums, std::uint32_t which) {
    return static_cast<std::int16_t>(sums >> 16 * which & 0xffff);
}

}  // namespace lfm::gpu
