// The AVX-512 intrinsics and a few steps on top. With LFM_AVX512_SIMDE they are SIMDe's plain emulation, so that the same
// kernels can be tested on machines without AVX-512; what SIMDe lacks is a loop here.
#pragma once

#include <cstdint>

#ifdef LFM_AVX512_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#define LFM_AVX512_NAMESPACE avx512_simde
#else
#include <immintrin.h>
#define LFM_AVX512_NAMESPACE avx512
#endif

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

#ifdef LFM_AVX512_SIMDE
template <class To, class From, class Function>
To each_lane(const From& from, Function&& function) {
    To to;
    for (int i = 0; i < 16; ++i) function(i, from, to);
    return to;
}

inline __m512 to_float(__m512i v) {
    std::int32_t from[16];
    float to[16];
    simde_memcpy(from, &v, sizeof from);
    for (int i = 0; i < 16; ++i) to[i] = static_cast<float>(from[i]);
    return _mm512_loadu_ps(to);
}
#else
inline __m512 to_float(__m512i v) { return _mm512_cvtepi32_ps(v); }
#endif
