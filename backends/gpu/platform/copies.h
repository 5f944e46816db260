// Copies from device memory to shared memory that bypass the registers: a thread starts them, goes on, and waits for
// its own. What it waited for is seen by the group after sync_group(). Processors without such copies make them at
// once.
//
// In the emulation the place holds 0xff bytes from the start of a copy on, and the copy is made by the wait: a thread
// that reads the new values too early, or the old ones too late, reads NaNs.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/shared_places.h"

#if !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
#include "backends/gpu/emulation/copies.h"
#endif

namespace lfm::gpu {

/// Of 4 or 16 bytes, both addresses multiples of that. No thread of the launch writes the source.
template <typename T>
__device__ inline void start_copy(SharedPlace to, const T* from) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 16);
#if __CUDA_ARCH__ >= 800
    if constexpr (sizeof(T) == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to.at), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to.at), "l"(from) : "memory");
#elif defined(LFM_GPU_CUDA) || defined(LFM_GPU_HIP)
    store_shared(to, load<T>(reinterpret_cast<const std::byte*>(from)));
#else
    emulation::start_copy(to.at, from, sizeof(T));
#endif
}

/// For all copies that this thread has started.
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#elif !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
    emulation::finish_copies();
#endif
}

}  // namespace lfm::gpu
