// Small vector functions shared by the AVX2 files.
#pragma once

#include <immintrin.h>
#include <cstdint>

namespace lfm::cpu::avx2 {
namespace {

/// All ones in lanes 0..n-1.
inline __m256i first_lanes(std::uint32_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

inline float largest_lane(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

inline float add_lanes(__m256 v) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

/// Relative error below 2e-7; exp(-inf) = 0, exp(inf) = inf, NaN stays.
inline __m256 exp(__m256 x) {
    // Outside, the result is 0 or infinity anyway. The order of operands lets NaN through.
    x = _mm256_min_ps(_mm256_set1_ps(105), _mm256_max_ps(_mm256_set1_ps(-105), x));
    // exp(x) = 2^n · exp(r), |r| <= ln 2 / 2; ln 2 in two parts, so that n · ln 2 loses nothing.
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    // 1 + r + r² · polynomial; its coefficients minimise the largest relative error (3e-9).
    __m256 p = _mm256_set1_ps(0x1.6a2434p-10f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.1239e2p-7f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5558f2p-5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.555492p-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.fffffcp-2f));
    const __m256 one = _mm256_set1_ps(1);
    p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r), one);
    // 2^n in two factors, because n reaches from -151 to 151.
    const __m256i exponent = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(exponent, 1);
    const auto power = [one](__m256i e) {
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(e, 23), _mm256_castps_si256(one)));
    };
    return _mm256_mul_ps(_mm256_mul_ps(p, power(half)), power(_mm256_sub_epi32(exponent, half)));
}

}  // namespace
}  // namespace lfm::cpu::avx2
