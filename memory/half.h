// f16 bit patterns to f32 and back (round to nearest even), bf16 and MXFP4's exponents to f32, in plain C++.
#pragma once

#include <bit>
#include <cstdint>

namespace lfm {

inline float f16_to_f32(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);  // infinity, NaN
    if (rest >= 0x0400u) return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));         // normal
    const float magnitude = static_cast<float>(rest) * 0x1p-24f;                                   // subnormal, zero
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

inline std::uint16_t f32_to_f16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const std::uint16_t sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
    const std::uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return sign | 0x7e00u;   // NaN
    if (rest >= 0x477ff000u) return sign | 0x7c00u;  // rounds to infinity
    if (rest < 0x38800000u) {                        // subnormal: adding 0.5 aligns the last bit and rounds
        const float shifted = std::bit_cast<float>(rest) + 0.5f;
        return sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u);
    }
    const std::uint32_t rounded = rest + 0xfffu + (rest >> 13 & 1u);
    return sign | static_cast<std::uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float bf16_to_f32(std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16); }

/// Exponent byte of MXFP4, times one half because the level table holds doubled values: 2^(e - 128).
inline float e8m0_to_f32_half(std::uint8_t e) {
    // 2^-128 and 2^-127 are subnormal in f32.
    if (e < 2) return std::bit_cast<float>(0x00200000u << e);
    return std::bit_cast<float>(static_cast<std::uint32_t>(e - 1) << 23);
}

}  // namespace lfm
