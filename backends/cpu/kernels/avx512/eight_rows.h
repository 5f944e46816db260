// Eight weight rows for few tokens: a row has two quarters of a vector, for the columns 0..15 and 16..31 of a block.
// Fewer instructions than AVX2's kernels, and as few rows at a time: sixteen come slower from memory.
#pragma once

#include "backends/cpu/kernels/avx512/lanes.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

using EightRows = RowGroup<8>;

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m512i side_by_side(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/// 32 bytes each of the rows `row` and `row` + 4. From four of these the reductions and transpositions, which work
/// inside quarters, yield the rows 0..3 twice, then 4..7 twice.
inline __m512i two_rows(const EightRows& rows, std::uint32_t row, std::size_t at) {
    return side_by_side(load32(rows.row[row] + at), load32(rows.row[row + 4] + at));
}

/// 16 bytes each of the same rows, twice.
inline __m512i header_rows(const EightRows& rows, std::uint32_t row, std::size_t at) {
    return side_by_side(_mm256_broadcastsi128_si256(load16(rows.row[row] + at)),
                        _mm256_broadcastsi128_si256(load16(rows.row[row + 4] + at)));
}

/// A block's activations for both rows.
inline __m512i block_twice(const ActivationBlock& x) { return _mm512_broadcast_i64x4(load32(x.q)); }

/// Σ x of a block.
inline __m512i block_sum(const ActivationBlock& x) { return _mm512_madd_epi16(every_u32(x.sum), _mm512_set1_epi16(1)); }

/// The f16 at byte `at` of each row.
inline __m512 row_halves(const EightRows& rows, std::size_t at) {
    const __m128i v = eight_halves(rows.row, at);
    return widen_f16(
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(v, v)), _mm_unpackhi_epi64(v, v), 1));
}

/// The sum of a row's two quarters, in each of them.
inline __m512i add_quarters(__m512i v) { return _mm512_add_epi32(v, _mm512_shuffle_i32x4(v, v, 0xb1)); }
inline __m512 add_quarters(__m512 v) {
    const __m512i bits = _mm512_castps_si512(v);
    return _mm512_add_ps(v, _mm512_castsi512_ps(_mm512_shuffle_i32x4(bits, bits, 0xb1)));
}

inline void store_rows(float* y, __m512 acc) {
    _mm_storeu_ps(y, _mm512_castps512_ps128(acc));
    _mm_storeu_ps(y + 4, _mm512_extractf32x4_ps(acc, 2));
}

}  // namespace
}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
