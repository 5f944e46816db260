// What the machine can do at most, measured by the plainest loops: the yardsticks of kernels_bench.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace lfm::bench {

/// Reads everything once; returns a value that depends on it.
__attribute__((target("avx2"), noinline)) inline std::uint64_t read_all(const std::byte* data, std::size_t bytes) {
    __m256i seen[4] = {};
    for (std::size_t i = 0; i + 128 <= bytes; i += 128) {
#pragma GCC unroll 4
        for (std::size_t part = 0; part < 4; ++part) {
            const __m256i* from = reinterpret_cast<const __m256i*>(data + i + 32 * part);
            seen[part] = _mm256_xor_si256(seen[part], _mm256_loadu_si256(from));
        }
    }
    const __m256i all = _mm256_xor_si256(_mm256_xor_si256(seen[0], seen[1]), _mm256_xor_si256(seen[2], seen[3]));
    return static_cast<std::uint64_t>(_mm256_extract_epi64(all, 0));
}

// Independent multiplications on registers, eight or sixteen a round so that latency does not show. `rounds` of them;
// the constant gives the multiply-adds of a round.
inline constexpr std::size_t kAvx2Int8Round = 8 * 32, kVnniRound = 16 * 64, kAvx2FloatRound = 12 * 8,
                             kAvx512FloatRound = 16 * 16;

/// u8 · s8 to 32 bits as AVX2 does it.
__attribute__((target("avx2"), noinline)) inline void multiply_int8_avx2(std::size_t rounds) {
    __m256i sums[8] = {}, w = _mm256_set1_epi8(3);
    const __m256i x = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
    for (std::size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
        for (__m256i& sum : sums) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), one));
            __asm__ volatile("" : "+x"(w), "+x"(sum));
        }
    }
}

__attribute__((target("avx512f,avx512bw,avx512vnni"), noinline)) inline void multiply_int8_vnni(std::size_t rounds) {
    __m512i sums[16] = {};
    const __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
    for (std::size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
        for (__m512i& sum : sums) {
            sum = _mm512_dpbusd_epi32(sum, w, x);
            __asm__ volatile("" : "+v"(sum));
        }
    }
}

__attribute__((target("avx2,fma"), noinline)) inline void multiply_float_avx2(std::size_t rounds) {
    __m256 sums[12] = {};
    const __m256 w = _mm256_set1_ps(0.5f), x = _mm256_set1_ps(0.25f);
    for (std::size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
        for (__m256& sum : sums) {
            sum = _mm256_fmadd_ps(w, x, sum);
            __asm__ volatile("" : "+x"(sum));
        }
    }
}

__attribute__((target("avx512f"), noinline)) inline void multiply_float_avx512(std::size_t rounds) {
    __m512 sums[16] = {};
    const __m512 w = _mm512_set1_ps(0.5f), x = _mm512_set1_ps(0.25f);
    for (std::size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
        for (__m512& sum : sums) {
            sum = _mm512_fmadd_ps(w, x, sum);
            __asm__ volatile("" : "+v"(sum));
        }
    }
}

}  // namespace lfm::bench
