// Blocks to small integers: 32 weights as 8-bit levels with an exact scale and minimum per 16. One form for every
// quantised type, for kernels that do not know the type's bits (plain_matmul.h).
//
// Everything here is a template over Target, a type local to one translation unit: so a copy compiled for a newer
// instruction set has internal linkage and cannot win at link time. Target offers
//     static float f16(std::uint16_t half);
#pragma once

#include <cstdint>

#include "memory/blocks.h"

namespace lfm::cpu {

/// w[i] = scale[i / 16] · level[i] - min[i / 16], i = 0..31. Scales and minima carry no rounding error.
struct UnpackedGroup {
    std::int8_t level[32];
    float scale[2];
    float min[2];
};

/// Groups of 32 in a block.
template <class Block>
inline constexpr int kGroups = sizeof(Block) <= sizeof(BlockQ8_0) ? 1 : kSuperBlock / 32;

template <class Target>
struct Unpack {
    static void set_scale(UnpackedGroup& group, float scale) {
        group.scale[0] = group.scale[1] = scale;
        group.min[0] = group.min[1] = 0;
    }
    static void set_scale_and_min(UnpackedGroup& group, float scale, float min) {
        group.scale[0] = group.scale[1] = scale;
        group.min[0] = group.min[1] = min;
    }

    /// 16 bytes: the low nibbles, then the high ones.
    static void nibbles(const std::uint8_t* qs, int offset, std::int8_t* level) {
        for (int j = 0; j < 16; ++j) {
            level[j] = static_cast<std::int8_t>((qs[j] & 15) - offset);
            level[j + 16] = static_cast<std::int8_t>((qs[j] >> 4) - offset);
        }
    }
    static void nibbles(const std::uint8_t* qs, const std::int8_t (&levels)[16], std::int8_t* level) {
        for (int j = 0; j < 16; ++j) {
            level[j] = levels[qs[j] & 15];
            level[j + 16] = levels[qs[j] >> 4];
        }
    }
    static void nibbles_and_fifth_bits(const std::uint8_t* qs, const std::uint8_t* qh, int offset, std::int8_t* level) {
        nibbles(qs, offset, level);
        for (int j = 0; j < 32; ++j) level[j] = static_cast<std::int8_t>(level[j] + ((qh[j / 8] >> (j % 8) & 1) << 4));
    }

    static void run(const BlockQ4_0& block, UnpackedGroup* groups) {
        nibbles(block.qs, 8, groups->level);
        set_scale(*groups, Target::f16(block.d));
    }
    static void run(const BlockQ4_1& block, UnpackedGroup* groups) {
        nibbles(block.qs, 0, groups->level);
        set_scale_and_min(*groups, Target::f16(block.d), -Target::f16(block.m));
    }
    static void run(const BlockQ5_0& block, UnpackedGroup* groups) {
        nibbles_and_fifth_bits(block.qs, block.qh, 16, groups->level);
        set_scale(*groups, Target::f16(block.d));
    }
    static void run(const BlockQ5_1& block, UnpackedGroup* groups) {
        nibbles_and_fifth_bits(block.qs, block.qh, 0, groups->level);
        set_scale_and_min(*groups, Target::f16(block.d), -Target::f16(block.m));
    }
    static void run(const BlockQ8_0& block, UnpackedGroup* groups) {
        for (int j = 0; j < 32; ++j) groups->level[j] = block.qs[j];
        set_scale(*groups, Target::f16(block.d));
    }
    static void run(const BlockIQ4_NL& block, UnpackedGroup* groups) {
        nibbles(block.qs, kIQ4Levels, groups->level);
        set_scale(*groups, Target::f16(block.d));
    }
    static void run(const BlockMXFP4& block, UnpackedGroup* groups) {
        nibbles(block.qs, kMXFP4Levels, groups->level);
        // as e8m0_to_f32_half(), which is inline and so must not be compiled here for a newer instruction set
        const std::uint32_t e = block.e;
        set_scale(*groups, __builtin_bit_cast(float, e < 2 ? 0x00200000u << e : (e - 1) << 23));
    }

    static void run(const BlockQ2_K& block, UnpackedGroup* groups) {
        const float d = Target::f16(block.d), dmin = Target::f16(block.dmin);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t* qs = block.qs + 32 * (g / 4);
            const int shift = 2 * (g % 4);
            for (int l = 0; l < 32; ++l) groups[g].level[l] = static_cast<std::int8_t>(qs[l] >> shift & 3);
            for (int half = 0; half < 2; ++half) {
                groups[g].scale[half] = d * static_cast<float>(block.scales[2 * g + half] & 15);
                groups[g].min[half] = dmin * static_cast<float>(block.scales[2 * g + half] >> 4);
            }
        }
    }

    static void run(const BlockQ3_K& block, UnpackedGroup* groups) {
        const float d = Target::f16(block.d);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t* qs = block.qs + 32 * (g / 4);
            const int shift = 2 * (g % 4);
            for (int l = 0; l < 32; ++l) {
                const int third_bit = (block.hmask[l] >> g & 1) << 2;
                groups[g].level[l] = static_cast<std::int8_t>((qs[l] >> shift & 3) + third_bit - 4);
            }
            for (int half = 0; half < 2; ++half) {
                const int k = 2 * g + half;
                const int low = block.scales[k % 8] >> (k / 8 * 4) & 15;
                const int high = block.scales[8 + k % 4] >> (k / 4 * 2) & 3;
                groups[g].scale[half] = d * static_cast<float>((low | high << 4) - 32);
                groups[g].min[half] = 0;
            }
        }
    }

    static void six_bit_scales(const std::uint8_t* b, float d, float dmin, UnpackedGroup* groups) {
        for (int k = 0; k < 4; ++k) {
            set_scale_and_min(groups[k], d * static_cast<float>(b[k] & 63), dmin * static_cast<float>(b[k + 4] & 63));
            const int scale = (b[k + 8] & 15) | b[k] >> 6 << 4, min = b[k + 8] >> 4 | b[k + 4] >> 6 << 4;
            set_scale_and_min(groups[k + 4], d * static_cast<float>(scale), dmin * static_cast<float>(min));
        }
    }
    static void run(const BlockQ4_K& block, UnpackedGroup* groups) {
        six_bit_scales(block.scales, Target::f16(block.d), Target::f16(block.dmin), groups);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t* qs = block.qs + 32 * (g / 2);
            const int shift = 4 * (g % 2);
            for (int l = 0; l < 32; ++l) groups[g].level[l] = static_cast<std::int8_t>(qs[l] >> shift & 15);
        }
    }
    static void run(const BlockQ5_K& block, UnpackedGroup* groups) {
        six_bit_scales(block.scales, Target::f16(block.d), Target::f16(block.dmin), groups);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t* qs = block.qs + 32 * (g / 2);
            const int shift = 4 * (g % 2);
            for (int l = 0; l < 32; ++l) {
                const int fifth_bit = (block.qh[l] >> g & 1) << 4;
                groups[g].level[l] = static_cast<std::int8_t>((qs[l] >> shift & 15) | fifth_bit);
            }
        }
    }

    static void run(const BlockQ6_K& block, UnpackedGroup* groups) {
        const float d = Target::f16(block.d);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t* ql = block.ql + 64 * (g / 4) + 32 * (g % 2);
            const std::uint8_t* qh = block.qh + 32 * (g / 4);
            const int low_shift = 4 * (g % 4 / 2), high_shift = 2 * (g % 4);
            for (int l = 0; l < 32; ++l) {
                const int high = (qh[l] >> high_shift & 3) << 4;
                groups[g].level[l] = static_cast<std::int8_t>(((ql[l] >> low_shift & 15) | high) - 32);
            }
            for (int half = 0; half < 2; ++half) {
                groups[g].scale[half] = d * static_cast<float>(block.scales[2 * g + half]);
                groups[g].min[half] = 0;
            }
        }
    }

    static void run(const BlockIQ4_XS& block, UnpackedGroup* groups) {
        const float d = Target::f16(block.d);
        for (int g = 0; g < 8; ++g) {
            nibbles(block.qs + 16 * g, kIQ4Levels, groups[g].level);
            const int low = block.scales_l[g / 2] >> (4 * (g % 2)) & 15;
            const int high = block.scales_h >> (2 * g) & 3;
            set_scale(groups[g], d * static_cast<float>((low | high << 4) - 32));
        }
    }
};

}  // namespace lfm::cpu
