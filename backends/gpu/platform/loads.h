// Loads of weights and activations: whole words, on the read-only path, for data that no thread of the kernel writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/platform/kernel.h"

#if !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
#include <cstring>
#endif

namespace lfm::gpu {

struct alignas(8) Words2 {
    std::uint32_t at[2];
};
struct alignas(16) Words4 {
    std::uint32_t at[4];
};

/// From an address that is a multiple of the type's size: std::uint16_t, std::uint32_t, float, Words2, Words4.
template <typename T>
__device__ inline T load(const std::byte* from) {
#if defined(LFM_GPU_CUDA)
    if constexpr (sizeof(T) == 16) {
        const uint4 words = __ldg(reinterpret_cast<const uint4*>(from));
        return {{words.x, words.y, words.z, words.w}};
    } else if constexpr (sizeof(T) == 8) {
        const uint2 words = __ldg(reinterpret_cast<const uint2*>(from));
        return {{words.x, words.y}};
    } else {
        return __ldg(reinterpret_cast<const T*>(from));
    }
#elif defined(LFM_GPU_HIP)
    return *reinterpret_cast<const T*>(from);
#else
    emulation::check_alignment(from, sizeof(T));
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
#endif
}

/// Word `i` of those from an address that is a multiple of 4.
__device__ inline std::uint32_t load_word(const std::byte* from, std::uint32_t i = 0) {
    return load<std::uint32_t>(from + 4 * i);
}

/// Fetches the memory around an address into the L2 cache, for later loads; nothing outside CUDA.
__device__ inline void prefetch(const std::byte* from) {
#if defined(LFM_GPU_CUDA)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
#else
    (void)from;
#endif
}

}  // namespace lfm::gpu
