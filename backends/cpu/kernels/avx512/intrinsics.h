// The AVX-512 intrinsics. With LFM_AVX512_SIMDE they are SIMDe's emulation, in a namespace of its own, so that the
// kernels can be tested on machines without AVX-512; the few that SIMDe 0.7.4 lacks have names here, and are loops
// there.
#pragma once

#include <cstdint>

#ifndef LFM_AVX512_SIMDE

#include <immintrin.h>
// gcc 12 finds its own _mm512_undefined_*() uninitialised (GCC PR 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace lfm::cpu::avx512 {
namespace {

inline __m512 to_float(__m512i v) { return _mm512_cvtepi32_ps(v); }
inline __m512i top_byte_signed(__m512i v) { return _mm512_srai_epi32(v, 24); }
inline __m512 widen_f16(__m256i v) { return _mm512_cvtph_ps(v); }
inline __m512 widen_low_f16(__m512i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }  // of every lane
inline __m512 widen_bf16(__m256i v) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16)); }
inline __m512 load_first(const float* x, std::uint32_t n) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), x);
}
inline float add_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

}  // namespace
}  // namespace lfm::cpu::avx512

#else

#pragma GCC diagnostic ignored "-Wpsabi"  // wide vectors as arguments, without wide registers: all in this file
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#undef _mm512_madd_epi16  // its alias asks for four arguments
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

#include "memory/half.h"

namespace lfm::cpu::avx512_simde {
namespace {

/// step() of each of the sixteen lanes of a vector.
template <class From, class To, class Vector, class Step>
__m512 each_lane(Vector v, Step step) {
    From from[16];
    To to[16];
    __builtin_memcpy(from, &v, sizeof from);
    for (int lane = 0; lane < 16; ++lane) to[lane] = step(from[lane]);
    return _mm512_loadu_ps(to);
}

inline __m512 to_float(__m512i v) {
    return each_lane<std::int32_t, float>(v, [](std::int32_t lane) { return static_cast<float>(lane); });
}
inline __m512i top_byte_signed(__m512i v) {
    const __m512 shifted = each_lane<std::int32_t, std::int32_t>(v, [](std::int32_t lane) { return lane >> 24; });
    return _mm512_castps_si512(shifted);
}
inline __m512 widen_low_f16(__m512i v) {
    return each_lane<std::uint32_t, float>(
        v, [](std::uint32_t lane) { return f16_to_f32(static_cast<std::uint16_t>(lane & 0xffff)); });
}
inline __m512 widen_f16(__m256i v) { return each_lane<std::uint16_t, float>(v, f16_to_f32); }
inline __m512 widen_bf16(__m256i v) { return each_lane<std::uint16_t, float>(v, bf16_to_f32); }
inline __m512 load_first(const float* x, std::uint32_t n) {
    float lanes[16] = {};
    for (std::uint32_t i = 0; i < n; ++i) lanes[i] = x[i];
    return _mm512_loadu_ps(lanes);
}
inline float add_lanes(__m512 v) {
    float lanes[16], sum = 0;
    _mm512_storeu_ps(lanes, v);
    for (const float lane : lanes) sum += lane;
    return sum;
}

}  // namespace
}  // namespace lfm::cpu::avx512_simde

#endif
