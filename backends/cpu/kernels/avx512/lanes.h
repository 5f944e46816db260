// Sixteen weight rows side by side: lane r of a vector belongs to row r.
#pragma once

#include "backends/cpu/kernels/avx512/intrinsics.h"
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/lane_matmul.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

using Rows = RowGroup<16>;

inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m512i load64(const void* p) { return _mm512_loadu_si512(p); }

inline std::int16_t load_u16(const void* p) {
    std::int16_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return bits;
}
inline __m512i every_u32(const void* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm512_set1_epi32(bits);
}

/// 16 bytes each of the rows `first`, + 4, + 8 and + 12: from vectors in this order the reductions and transpositions
/// below, which work inside quarters, yield rows 0..15 in order.
inline __m512i four_rows(const Rows& rows, std::uint32_t first, std::size_t at) {
    __m512i v = _mm512_castsi128_si512(load16(rows.row[first] + at));
    v = _mm512_inserti32x4(v, load16(rows.row[first + 4] + at), 1);
    v = _mm512_inserti32x4(v, load16(rows.row[first + 8] + at), 2);
    return _mm512_inserti32x4(v, load16(rows.row[first + 12] + at), 3);
}

inline __m512i header_rows(const Rows& rows, std::uint32_t first, std::size_t at) { return four_rows(rows, first, at); }

/// The 16 bits at byte `at` of eight rows.
inline __m128i eight_halves(const std::byte* const* row, std::size_t at) {
    __m128i v = _mm_cvtsi32_si128(load_u16(row[0] + at));
    v = _mm_insert_epi16(v, load_u16(row[1] + at), 1);
    v = _mm_insert_epi16(v, load_u16(row[2] + at), 2);
    v = _mm_insert_epi16(v, load_u16(row[3] + at), 3);
    v = _mm_insert_epi16(v, load_u16(row[4] + at), 4);
    v = _mm_insert_epi16(v, load_u16(row[5] + at), 5);
    v = _mm_insert_epi16(v, load_u16(row[6] + at), 6);
    return _mm_insert_epi16(v, load_u16(row[7] + at), 7);
}

/// The f16 at byte `at` of each row.
inline __m512 row_halves(const Rows& rows, std::size_t at) {
    const __m128i low = eight_halves(rows.row, at), high = eight_halves(rows.row + 8, at);
    return widen_f16(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
}

/// Moves bytes within each 32-bit lane: byte i of `bytes` is the number (0..3) of the byte that goes to i, or 0x80 for
/// zero.
inline __m512i shuffle_lanes(__m512i words, std::uint32_t bytes) {
    const __m512i lane = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    return _mm512_shuffle_epi8(words, _mm512_add_epi8(_mm512_set1_epi32(static_cast<int>(bytes)), lane));
}

/// From four vectors of four rows with four 32-bit items each to four items of sixteen rows.
inline void transpose(const __m512i (&part)[4], __m512i (&item)[4]) {
    const __m512i a = _mm512_unpacklo_epi32(part[0], part[1]), b = _mm512_unpacklo_epi32(part[2], part[3]);
    const __m512i c = _mm512_unpackhi_epi32(part[0], part[1]), d = _mm512_unpackhi_epi32(part[2], part[3]);
    item[0] = _mm512_unpacklo_epi64(a, b);
    item[1] = _mm512_unpackhi_epi64(a, b);
    item[2] = _mm512_unpacklo_epi64(c, d);
    item[3] = _mm512_unpackhi_epi64(c, d);
}

/// The sum of the four 32-bit items of each row's quarters.
inline __m512i add_items(const __m512i (&part)[4]) {
    const __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(part[0], part[1]), _mm512_unpackhi_epi32(part[0], part[1]));
    const __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(part[2], part[3]), _mm512_unpackhi_epi32(part[2], part[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

inline void store_quads(std::uint8_t (*to)[64], const __m512i (&quads)[4]) {
    for (int quad = 0; quad < 4; ++quad) _mm512_storeu_si512(to[quad], quads[quad]);
}

/// factor · Σ x of a block, from its two sums. Scalar, as the ports that multiply vectors are the bottleneck.
inline __m512i block_offset(const std::int16_t* sum, std::int32_t factor) {
    return _mm512_set1_epi32((sum[0] + sum[1]) * factor);
}

/// acc + x scale · d · sum, the step of symmetric types.
inline __m512 add_block(__m512 acc, float x_scale, __m512 d, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_set1_ps(x_scale), _mm512_mul_ps(d, sum), acc);
}

/// A block of sixteen rows in eight quads of columns.
struct Quads {
    __m512i w[8];

    explicit Quads(const std::uint8_t (&quads)[8][64]) {
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; ++quad) w[quad] = load64(quads[quad]);
    }
};

/// Of two groups of rows: first_start + Σ w · x over the columns 0..15, second_start + Σ w · x over 16..31. An
/// activation is loaded once for both.
struct TwoSums {
    __m512i first[2], second[2];

    TwoSums(const Quads& a, const Quads& b, const std::int8_t* x, __m512i first_start, __m512i second_start)
        : first{first_start, first_start}, second{second_start, second_start} {
#pragma GCC unroll 4
        for (int quad = 0; quad < 4; ++quad) {
            const __m512i left = in_register(every_u32(x + 4 * quad));
            const __m512i right = in_register(every_u32(x + 4 * quad + 16));
            first[0] = _mm512_dpbusd_epi32(first[0], a.w[quad], left);
            first[1] = _mm512_dpbusd_epi32(first[1], b.w[quad], left);
            second[0] = _mm512_dpbusd_epi32(second[0], a.w[quad + 4], right);
            second[1] = _mm512_dpbusd_epi32(second[1], b.w[quad + 4], right);
        }
    }
    __m512 all(int group) const { return to_float(_mm512_add_epi32(first[group], second[group])); }

private:
    /// A compiler would load it again for every multiplication, and loads would be the bottleneck.
    static __m512i in_register(__m512i v) {
#ifndef LFM_AVX512_SIMDE
        __asm__("" : "+v"(v));
#endif
        return v;
    }
};

}  // namespace
}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
