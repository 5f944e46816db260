// Activations to 8 bits in blocks of 32, as backends/cpu/kernels/kernels.h defines it: eight lanes a block.
#pragma once

#include <cmath>
#include <cstdint>

#include "backends/gpu/kernels/wide.h"
#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

struct QuantisedFour {
    std::uint32_t q;          // four signed bytes
    float scale;              // of the block
    std::int32_t sum_of_run;  // of the 16 neighbours that begin at a multiple of 16
};

/// Divides by one number as the instruction would: rounded once. `by` is not zero, subnormal or beyond 2^120.
///
/// The quotient by a reciprocal, corrected twice by its remainder: if the reciprocal is rounded to nearest and the
/// quotient within a unit of its last place, the last step rounds correctly (Markstein, "Computation of elementary
/// functions on the IBM RISC System/6000 processor", 1990, theorem 5). The remainder must be exact, so small numbers
/// are scaled away from the subnormals first.
struct Divider {
    __device__ explicit Divider(float by)
        : factor(by < 0x1p-64f ? 0x1p64f : 1.0f), divisor(by * factor), reciprocal(1.0f / divisor) {}
    __device__ float operator()(float value) const {
        const float dividend = value * factor;
        float quotient = dividend * reciprocal;
        quotient = fmaf(fmaf(-quotient, divisor, dividend), reciprocal, quotient);
        return fmaf(fmaf(-quotient, divisor, dividend), reciprocal, quotient);
    }
    float factor, divisor, reciprocal;
};

/// Of a block, from the bits of its largest magnitude.
struct BlockScale {
    __device__ explicit BlockScale(std::uint32_t largest)
        : scale(largest < 0x7f800000 ? float_of_bits(largest) / 127.0f : 0.0f),
          // A subnormal scale is too coarse to keep |q| within 127.
          is_zero(scale < 1.17549435e-38f),
          stored(largest >= 0x7f800000 ? float_of_bits(0x7fc00000)
                 : is_zero             ? 0.0f
                                       : scale),
          divide(is_zero ? 1.0f : scale) {}
    __device__ std::int32_t level_of(float value) const {
        return is_zero ? 0 : static_cast<std::int32_t>(round_to_even(divide(value)));
    }
    float scale;
    bool is_zero;
    float stored;  // 0: all levels are 0; NaN: a value was not finite
    Divider divide;
};

/// Four neighbouring values from a column that is a multiple of 4; zeros where they are not wanted.
__device__ inline void load_four(const float* x, std::uint32_t column, bool wanted, float (&four)[4]) {
    if (wanted && (reinterpret_cast<std::uintptr_t>(x) & 15) == 0) {
        const Floats4 values = *reinterpret_cast<const Floats4*>(x + column);
        four[0] = values.x, four[1] = values.y, four[2] = values.z, four[3] = values.w;
    } else {
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) four[i] = wanted ? x[column + i] : 0;
    }
}

/// Quantises 32 neighbouring values, four in each of eight neighbouring lanes. All lanes of the warp call it.
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
    const BlockScale scale(largest);
    QuantisedFour result{0, scale.stored, 0};
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        const std::int32_t level = scale.level_of(values[i]);
        result.sum_of_run += level;
        result.q |= (static_cast<std::uint32_t>(level) & 0xff) << 8 * i;
    }
    for (std::uint32_t mask = 1; mask < 4; mask *= 2) result.sum_of_run += lane_xor(result.sum_of_run, mask);
    return result;
}

/// Quantises 32 neighbouring values, one of each lane, and stores them as block `block`. All lanes of the warp call it.
__device__ inline void store_quantised(float value, std::uint32_t block, bool wanted, std::byte* q, float* scales,
                                       std::uint32_t* sums) {
    std::uint32_t largest = bits_of_float(value) & 0x7fffffff;
    for (std::uint32_t mask = 1; mask < kLanes; mask *= 2) {
        const std::uint32_t other = lane_xor(largest, mask);
        largest = other > largest ? other : largest;
    }
    const BlockScale scale(largest);
    const std::int32_t level = scale.level_of(value);
    std::int32_t sum = level;
    for (std::uint32_t mask = 1; mask < 16; mask *= 2) sum += lane_xor(sum, mask);
    const std::int32_t other_run = lane_xor(sum, 16);
    if (!wanted) return;
    q[32 * std::size_t{block} + lane()] = static_cast<std::byte>(level & 0xff);
    if (lane() != 0) return;
    scales[block] = scale.stored;
    sums[block] = (static_cast<std::uint32_t>(sum) & 0xffff) | static_cast<std::uint32_t>(other_run) << 16;
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
