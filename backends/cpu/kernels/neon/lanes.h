// Four weight rows side by side: lane r of a vector belongs to row r. Both sides of a multiplication are signed here,
// so weights need no offset but their own.
#pragma once

#include <arm_neon.h>

#include "backends/cpu/kernels/lane_matmul.h"

namespace lfm::cpu::neon {
namespace {

using Rows = RowGroup<4>;       // of a panel
using EightRows = RowGroup<8>;  // for few tokens: two vectors

inline uint8x16_t load16(const void* p) { return vld1q_u8(static_cast<const std::uint8_t*>(p)); }
inline int8x16_t signed16(uint8x16_t v) { return vreinterpretq_s8_u8(v); }

inline std::uint16_t load_u16(const void* p) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return bits;
}

inline float32x4_t widen_f16(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }

/// The f16 at byte `at` of the rows `first` to `first` + 3.
template <std::uint32_t kRows>
float32x4_t row_halves(const RowGroup<kRows>& rows, std::uint32_t first, std::size_t at) {
    const std::uint16_t halves[4] = {load_u16(rows.row[first] + at), load_u16(rows.row[first + 1] + at),
                                     load_u16(rows.row[first + 2] + at), load_u16(rows.row[first + 3] + at)};
    return widen_f16(vld1_u16(halves));
}

/// From four rows of four 32-bit items to four items of four rows.
inline void transpose(const uint32x4_t (&row)[4], uint32x4_t (&item)[4]) {
    const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(row[0], row[1]));
    const uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(row[0], row[1]));
    const uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(row[2], row[3]));
    const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(row[2], row[3]));
    item[0] = vreinterpretq_u32_u64(vtrn1q_u64(a, c));
    item[1] = vreinterpretq_u32_u64(vtrn1q_u64(b, d));
    item[2] = vreinterpretq_u32_u64(vtrn2q_u64(a, c));
    item[3] = vreinterpretq_u32_u64(vtrn2q_u64(b, d));
}

/// Items 0..3 of 16 bytes at `at` of four rows.
template <std::uint32_t kRows>
void header_items(const RowGroup<kRows>& rows, std::uint32_t first, std::size_t at, uint32x4_t (&items)[4]) {
    uint32x4_t parts[4];
#pragma GCC unroll 4
    for (std::uint32_t row = 0; row < 4; ++row) parts[row] = vreinterpretq_u32_u8(load16(rows.row[first + row] + at));
    transpose(parts, items);
}

/// Bytes of four rows into quads of columns.
inline void store_quads(std::int8_t (*to)[16], const uint8x16_t (&rows)[4]) {
    uint32x4_t parts[4], quads[4];
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) parts[row] = vreinterpretq_u32_u8(rows[row]);
    transpose(parts, quads);
#pragma GCC unroll 4
    for (int quad = 0; quad < 4; ++quad) vst1q_s8(to[quad], vreinterpretq_s8_u32(quads[quad]));
}

/// A panel's levels: [block][quad of columns][row][column].
using PanelLevels = std::int8_t[kPanelBlocks][8][16];

/// Half a block of four rows in four quads of columns.
struct HalfBlock {
    int8x16_t w[4];

    explicit HalfBlock(const std::int8_t (*quads)[16]) {
#pragma GCC unroll 4
        for (int quad = 0; quad < 4; ++quad) w[quad] = vld1q_s8(quads[quad]);
    }
    /// start + Σ w · x by row.
    int32x4_t multiply(int32x4_t start, int8x16_t x) const {
        int32x4_t sum = vdotq_laneq_s32(start, w[0], x, 0);
        sum = vdotq_laneq_s32(sum, w[1], x, 1);
        sum = vdotq_laneq_s32(sum, w[2], x, 2);
        return vdotq_laneq_s32(sum, w[3], x, 3);
    }
};

/// The sum of each vector's lanes, by row.
inline int32x4_t add_items(const int32x4_t (&part)[4]) {
    return vpaddq_s32(vpaddq_s32(part[0], part[1]), vpaddq_s32(part[2], part[3]));
}

inline int32x4_t every(std::int32_t value) { return vdupq_n_s32(value); }

/// acc + x scale · d · sum, the step of symmetric types.
inline float32x4_t add_block(float32x4_t acc, float x_scale, float32x4_t d, int32x4_t sum) {
    return vfmaq_n_f32(acc, vmulq_f32(d, vcvtq_f32_s32(sum)), x_scale);
}

}  // namespace
}  // namespace lfm::cpu::neon
