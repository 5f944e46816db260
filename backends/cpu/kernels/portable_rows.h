// Rows of f32 in plain C++ that compilers vectorise. For portable*.cpp alone.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "memory/blocks.h"
#include "memory/half.h"

namespace lfm::cpu::portable {

inline constexpr std::size_t kLanes = 16;

/// lanes[i % kLanes] += a[i] · b[i]. Independent sums, because a compiler may not reorder additions.
inline void add_products(const float* a, const float* b, std::size_t n, float* lanes) {
    float sums[kLanes];
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] = lanes[lane];
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    for (std::size_t lane = 0; i + lane < n; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = sums[lane];
}

inline float sum_of_lanes(const float* lanes) {
    float sums[kLanes / 2];
    for (std::size_t lane = 0; lane < kLanes / 2; ++lane) sums[lane] = lanes[lane] + lanes[lane + kLanes / 2];
    for (std::size_t half = kLanes / 4; half > 0; half /= 2)
        for (std::size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0];
}

inline float dot(const float* a, const float* b, std::size_t n) {
    float lanes[kLanes] = {};
    add_products(a, b, n, lanes);
    return sum_of_lanes(lanes);
}

/// As f16_to_f32, without branches: the multiplication moves the exponent and normalises subnormals, exactly.
inline float widen_f16(std::uint16_t half) {
    const std::uint32_t rest = static_cast<std::uint32_t>(half & 0x7fff) << 13;
    const std::uint32_t infinite = rest >= 0x0f800000u ? 0x7f800000u : 0u;  // also NaN
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * 0x1p112f) | infinite | sign);
}

// Readers: x[0..n) from n elements at `row`, which may be unaligned.
using ReadRow = void (*)(const std::byte* row, std::size_t n, float* x);

inline void read_f32(const std::byte* row, std::size_t n, float* x) { std::memcpy(x, row, n * sizeof(float)); }

template <float (*Widen)(std::uint16_t)>
void read_halves(const std::byte* row, std::size_t n, float* x) {
    for (std::size_t i = 0; i < n; ++i) {
        std::uint16_t half;
        std::memcpy(&half, row + 2 * i, sizeof half);
        x[i] = Widen(half);
    }
}
inline constexpr ReadRow read_f16 = read_halves<widen_f16>;
inline constexpr ReadRow read_bf16 = read_halves<bf16_to_f32>;

inline void read_q8_0(const std::byte* row, std::size_t n, float* x) {
    for (std::size_t i = 0; i < n; i += 32, row += sizeof(BlockQ8_0)) {
        BlockQ8_0 block;
        std::memcpy(&block, row, sizeof block);
        const float d = f16_to_f32(block.d);
        for (std::size_t j = 0; j < 32; ++j) x[i + j] = d * static_cast<float>(block.qs[j]);
    }
}

}  // namespace lfm::cpu::portable
