// Quantised blocks, byte for byte as the GGUF format stores them. `d`, `dmin` and `m` are f16 bit patterns.
#pragma once

#include <cstdint>

namespace lfm {

inline constexpr int kSuperBlock = 256;  // weights in a block of a "K" type

struct BlockQ4_0 {
    std::uint16_t d;
    std::uint8_t qs[16];  // element j: low nibble of qs[j]; j+16: high nibble; value d(q - 8)
};
struct BlockQ4_1 {
    std::uint16_t d, m;
    std::uint8_t qs[16];  // d·q + m
};
struct BlockQ5_0 {
    std::uint16_t d;
    std::uint8_t qh[4];  // bit j: fifth bit of element j
    std::uint8_t qs[16];
};
struct BlockQ5_1 {
    std::uint16_t d, m;
    std::uint8_t qh[4];
    std::uint8_t qs[16];
};
struct BlockQ8_0 {
    std::uint16_t d;
    std::int8_t qs[32];
};
struct BlockQ2_K {
    std::uint8_t scales[16];  // one a group of 16: low nibble scale, high nibble min
    std::uint8_t qs[64];
    std::uint16_t d, dmin;
};
struct BlockQ3_K {
    std::uint8_t hmask[32];
    std::uint8_t qs[64];
    std::uint8_t scales[12];
    std::uint16_t d;
};
struct BlockQ4_K {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];  // eight six-bit scales and mins
    std::uint8_t qs[128];
};
struct BlockQ5_K {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qh[32];
    std::uint8_t qs[128];
};
struct BlockQ6_K {
    std::uint8_t ql[128];
    std::uint8_t qh[64];
    std::int8_t scales[16];
    std::uint16_t d;
};
struct BlockIQ4_NL {
    std::uint16_t d;
    std::uint8_t qs[16];
};
struct BlockIQ4_XS {
    std::uint16_t d;
    std::uint16_t scales_h;
    std::uint8_t scales_l[4];
    std::uint8_t qs[128];
};
// One byte of exponent, so the block has odd size: all fields are bytes.
struct BlockMXFP4 {
    std::uint8_t e;
    std::uint8_t qs[16];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84);
static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136);
static_assert(sizeof(BlockMXFP4) == 17);

// The sixteen levels of IQ4_NL and IQ4_XS; those of MXFP4, doubled to be integers, so that their factor is 2^(e - 128)
// in place of the format's 2^(e - 127).
inline constexpr std::int8_t kIQ4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::int8_t kMXFP4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace lfm
