// Eight weight rows side by side: lane r of a vector belongs to row r.
#pragma once

#include "backends/cpu/kernels/avx2/math.h"
#include "backends/cpu/kernels/lane_matmul.h"

namespace lfm::cpu::avx2 {
namespace {

using Rows = RowGroup<8>;

inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m256i twice16(const void* p) { return _mm256_broadcastsi128_si256(load16(p)); }

inline std::int32_t load_u32(const void* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return bits;
}
inline std::int16_t load_u16(const void* p) {
    std::int16_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return bits;
}
inline __m256i every_u32(const void* p) { return _mm256_set1_epi32(load_u32(p)); }

/// 16 bytes of row `pair` in the lower half, of row `pair` + 4 in the upper: from pairs in this order the reductions
/// and transpositions below, which work inside halves, yield rows 0..7 in order.
inline __m256i row_pair(const Rows& rows, std::uint32_t pair, std::size_t at) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(rows.row[pair] + at)), load16(rows.row[pair + 4] + at),
                                   1);
}

/// The f16 at byte `at` of each row.
inline __m256 row_halves(const Rows& rows, std::size_t at) {
    __m128i h = _mm_cvtsi32_si128(load_u16(rows.row[0] + at));
    h = _mm_insert_epi16(h, load_u16(rows.row[1] + at), 1);
    h = _mm_insert_epi16(h, load_u16(rows.row[2] + at), 2);
    h = _mm_insert_epi16(h, load_u16(rows.row[3] + at), 3);
    h = _mm_insert_epi16(h, load_u16(rows.row[4] + at), 4);
    h = _mm_insert_epi16(h, load_u16(rows.row[5] + at), 5);
    h = _mm_insert_epi16(h, load_u16(rows.row[6] + at), 6);
    h = _mm_insert_epi16(h, load_u16(rows.row[7] + at), 7);
    return _mm256_cvtph_ps(h);
}

/// Moves bytes within each 32-bit lane: byte i of `bytes` is the number (0..3) of the byte that goes to i, or 0x80 for
/// zero.
inline __m256i shuffle_lanes(__m256i words, std::uint32_t bytes) {
    const __m256i lane =
        _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    return _mm256_shuffle_epi8(words, _mm256_add_epi8(_mm256_set1_epi32(static_cast<int>(bytes)), lane));
}

/// From four row pairs of four 32-bit items to four items of eight rows.
inline void transpose(const __m256i (&pair)[4], __m256i (&item)[4]) {
    const __m256i a = _mm256_unpacklo_epi32(pair[0], pair[1]);
    const __m256i b = _mm256_unpacklo_epi32(pair[2], pair[3]);
    const __m256i c = _mm256_unpackhi_epi32(pair[0], pair[1]);
    const __m256i d = _mm256_unpackhi_epi32(pair[2], pair[3]);
    item[0] = _mm256_unpacklo_epi64(a, b);
    item[1] = _mm256_unpackhi_epi64(a, b);
    item[2] = _mm256_unpacklo_epi64(c, d);
    item[3] = _mm256_unpackhi_epi64(c, d);
}

inline void store_quads(std::uint8_t (*to)[32], const __m256i (&quads)[4]) {
    for (int quad = 0; quad < 4; ++quad) _mm256_store_si256(reinterpret_cast<__m256i*>(to[quad]), quads[quad]);
}

/// Of four row pairs with four 32-bit units per row, the sum of units 0 and 2 and that of units 1 and 3, by row.
/// Units are pairs of 16-bit sums.
inline void add_units(const __m256i (&pair)[4], __m256i& first, __m256i& second) {
    const __m256i a =
        _mm256_add_epi16(_mm256_unpacklo_epi32(pair[0], pair[1]), _mm256_unpackhi_epi32(pair[0], pair[1]));
    const __m256i b =
        _mm256_add_epi16(_mm256_unpacklo_epi32(pair[2], pair[3]), _mm256_unpackhi_epi32(pair[2], pair[3]));
    first = _mm256_unpacklo_epi64(a, b);
    second = _mm256_unpackhi_epi64(a, b);
}

/// The sum of all four units by row, units being 32-bit sums.
inline __m256i add_units32(const __m256i (&pair)[4]) {
    const __m256i a =
        _mm256_add_epi32(_mm256_unpacklo_epi32(pair[0], pair[1]), _mm256_unpackhi_epi32(pair[0], pair[1]));
    const __m256i b =
        _mm256_add_epi32(_mm256_unpacklo_epi32(pair[2], pair[3]), _mm256_unpackhi_epi32(pair[2], pair[3]));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/// An addition that stays in its place: a compiler would regroup a chain of them into a tree, which needs more
/// registers than there are.
inline void add_in_order16(__m256i& sum, __m256i term) {
    sum = _mm256_add_epi16(sum, term);
    __asm__("" : "+x"(sum));
}

inline void add_in_order32(__m256i& sum, __m256i term) {
    sum = _mm256_add_epi32(sum, term);
    __asm__("" : "+x"(sum));
}

inline __m256i add_pairs(__m256i sums16) { return _mm256_madd_epi16(sums16, _mm256_set1_epi16(1)); }

}  // namespace
}  // namespace lfm::cpu::avx2
