// Instructions that the languages name differently.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/kernel.h"

#if defined(LFM_GPU_CUDA)
#include <cuda_fp16.h>
#elif defined(LFM_GPU_HIP)
#include <hip/hip_fp16.h>
#else
#include <bit>

#include "memory/half.h"
#endif

namespace lfm::gpu {

#if defined(LFM_GPU_CUDA) || defined(LFM_GPU_HIP)

__device__ inline float float_of_bits(std::uint32_t bits) { return __uint_as_float(bits); }
__device__ inline std::uint32_t bits_of_float(float value) { return __float_as_uint(value); }
__device__ inline float float_of_half(std::uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
/// Nearest, ties to even.
__device__ inline std::uint16_t half_of_float(float value) { return __half_as_ushort(__float2half_rn(value)); }
/// a · b + c, rounded once.
__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
/// Nearest integer, ties to even.
__device__ inline float round_to_even(float value) { return rintf(value); }
/// Of two 32-bit words side by side, `low` first: the 32 bits from bit `shift` on, which is at most 32.
__device__ inline std::uint32_t funnel(std::uint32_t low, std::uint32_t high, std::uint32_t shift) {
#if defined(LFM_GPU_CUDA)
    return __funnelshift_rc(low, high, shift);
#else
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(high) << 32 | low) >> shift);
#endif
}

#else

inline float float_of_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t bits_of_float(float value) { return std::bit_cast<std::uint32_t>(value); }
inline float float_of_half(std::uint16_t bits) { return f16_to_f32(bits); }
inline std::uint16_t half_of_float(float value) { return f32_to_f16(value); }
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float round_to_even(float value) { return __builtin_rintf(value); }
inline std::uint32_t funnel(std::uint32_t low, std::uint32_t high, std::uint32_t shift) {
    return static_cast<std::uint32_t>((std::uint64_t{high} << 32 | low) >> shift);
}

#endif

/// sum + Σ a[i] · b[i] over the four signed bytes of each.
__device__ inline std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
#if defined(LFM_GPU_CUDA)
    return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
#elif defined(LFM_GPU_HIP) && \
    (defined(__gfx906__) || defined(__gfx908__) || defined(__gfx90a__) || defined(__gfx1030__))
    return __builtin_amdgcn_sdot4(static_cast<int>(a), static_cast<int>(b), sum, false);
#else
    for (int i = 0; i < 32; i += 8)
        sum += static_cast<std::int8_t>(a >> i & 0xff) * static_cast<std::int8_t>(b >> i & 0xff);
    return sum;
#endif
}

/// The same, but the bytes of a are unsigned; below 128 where kUpperTimes is 1.
__device__ inline std::int32_t dot4_unsigned(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
#if defined(LFM_GPU_CUDA)
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#elif defined(LFM_GPU_HIP)
    return dot4(a, b, sum);
#else
    for (int i = 0; i < 32; i += 8)
        sum += static_cast<std::int32_t>(a >> i & 0xff) * static_cast<std::int8_t>(b >> i & 0xff);
    return sum;
#endif
}
/// By what the upper nibbles of bytes are multiplied when they are taken out with the fewest instructions: where
/// dot4_unsigned takes all bytes they need not be shifted down.
#if defined(LFM_GPU_HIP)
inline constexpr std::int32_t kUpperTimes = 1;
#else
inline constexpr std::int32_t kUpperTimes = 16;
#endif

/// Of the eight bytes of two words, `low` first: the one that each byte of `indices`, below 8, names.
__device__ inline std::uint32_t select_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t indices) {
#if defined(LFM_GPU_CUDA)
    const std::uint32_t pairs = indices | indices >> 4;  // the instruction takes four bits for each
    return __byte_perm(low, high, __byte_perm(pairs, 0, 0x4420));
#elif defined(LFM_GPU_HIP)
    return __builtin_amdgcn_perm(high, low, indices);
#else
    const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
    std::uint32_t result = 0;
    for (int i = 0; i < 32; i += 8) result |= static_cast<std::uint32_t>(bytes >> 8 * (indices >> i & 7) & 0xff) << i;
    return result;
#endif
}

}  // namespace lfm::gpu
