// Eight neighbouring values of a head, as a cache keeps them and as floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/kernels/cache_type.h"
#include "backends/gpu/kernels/wide.h"
#include "backends/gpu/platform/arithmetic.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kEight = 8;
inline constexpr std::uint32_t kBlockBytes = 34;  // of Q8_0: an f16 scale, then 32 signed bytes

/// Where a head's values are, and which: the first of eight is `first`.
struct CachedHead {
    const std::byte* at;
    CacheType type;
    std::uint32_t head_dim;
    std::uint32_t first;
};

__device__ inline void halves_to_floats(std::uint32_t two, float& low, float& high) {
    low = float_of_half(static_cast<std::uint16_t>(two & 0xffff));
    high = float_of_half(static_cast<std::uint16_t>(two >> 16));
}
__device__ inline std::uint32_t two_halves(float low, float high) {
    return static_cast<std::uint32_t>(half_of_float(low)) | static_cast<std::uint32_t>(half_of_float(high)) << 16;
}
/// The value of a signed byte, given as that byte plus 128.
__device__ inline float float_of_level(std::uint32_t byte) { return float_of_bits(0x4b000000u | byte) - 8388736.0f; }

/// Halves, in one load.
struct EightHalves {
    Words4 words;

    static __device__ EightHalves load(const CachedHead& head) {
        return {*reinterpret_cast<const Words4*>(head.at + head.first * 2)};
    }
    __device__ float scale() const { return 1; }
    __device__ Words4 halves() const { return words; }
    __device__ void unpack(float (&to)[kEight]) const {
        halves_to_floats(words.at[0], to[0], to[1]);
        halves_to_floats(words.at[1], to[2], to[3]);
        halves_to_floats(words.at[2], to[4], to[5]);
        halves_to_floats(words.at[3], to[6], to[7]);
    }
};

/// Of a block of Q8_0, in words: every second block begins in the middle of a word, and the last word may reach into
/// the next block, which exists because heads have an even number of blocks.
struct EightLevels {
    std::uint32_t words[3], shift;
    std::uint16_t block_scale;

    static __device__ EightLevels load(const CachedHead& head) {
        const std::uint32_t block = head.first / 32, begin = block * kBlockBytes + 2 + head.first % 32;
        const auto* words = reinterpret_cast<const std::uint32_t*>(head.at + begin / 4 * 4);
        const std::uint32_t odd = begin % 4 / 2;
        return {{words[0], words[1], words[1 + odd]},
                16 * odd,
                *reinterpret_cast<const std::uint16_t*>(head.at + block * kBlockBytes)};
    }
    __device__ float scale() const { return float_of_half(block_scale); }
    /// Multiplied with the scale.
    __device__ Words4 halves() const {
        float x[kEight];
        unpack(x);
        const float by = scale();
        return {{two_halves(by * x[0], by * x[1]), two_halves(by * x[2], by * x[3]), two_halves(by * x[4], by * x[5]),
                 two_halves(by * x[6], by * x[7])}};
    }
    __device__ void unpack(float (&to)[kEight]) const {
        const std::uint32_t low = funnel(words[0], words[1], shift) ^ 0x80808080;
        const std::uint32_t high = funnel(words[1], words[2], shift) ^ 0x80808080;
        for (int i = 0; i < 4; ++i) {
            to[i] = float_of_level(low >> (8 * i) & 0xff);
            to[4 + i] = float_of_level(high >> (8 * i) & 0xff);
        }
    }
};

/// Of any type; zeros beyond the head's end.
struct EightOfAny {
    float values[kEight];

    static __device__ void load_four(const CachedHead& head, std::uint32_t first, float* to) {
        if (head.type == CacheType::kF16) {
            const auto* two = reinterpret_cast<const std::uint32_t*>(head.at + first * 2);
            halves_to_floats(two[0], to[0], to[1]);
            halves_to_floats(two[1], to[2], to[3]);
        } else if (head.type == CacheType::kF32) {
            const Floats4 four = *reinterpret_cast<const Floats4*>(head.at + first * 4);
            to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
        } else {
            const auto* block = reinterpret_cast<const std::uint16_t*>(head.at + first / 32 * kBlockBytes);
            const float scale = float_of_half(block[0]);
            for (std::uint32_t i = 0; i < 4; ++i) {
                const std::uint32_t two = block[1 + first % 32 / 2 + i / 2];
                to[i] = scale * static_cast<float>(static_cast<std::int8_t>(two >> (8 * (i % 2)) & 0xff));
            }
        }
    }
    static __device__ EightOfAny load(const CachedHead& head) {
        EightOfAny eight{};
        if (head.first < head.head_dim) load_four(head, head.first, eight.values);
        if (head.first + 4 < head.head_dim) load_four(head, head.first + 4, eight.values + 4);
        return eight;
    }
    __device__ float scale() const { return 1; }
    __device__ void unpack(float (&to)[kEight]) const {
        for (std::uint32_t i = 0; i < kEight; ++i) to[i] = values[i];
    }
};

}  // namespace lfm::gpu
