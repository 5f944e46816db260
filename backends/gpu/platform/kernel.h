// The language of kernels: the part that CUDA, HIP and the emulation on the CPU share. Kernels include this, lanes.h
// and arithmetic.h, and name nothing of a vendor's.
//
// A kernel is `__global__ void __launch_bounds__(n) name(Push push)`: one struct of plain values, groups of n threads
// in one dimension, at most 48 KiB of shared memory as one struct. Left alone, compilers save registers by loading
// late; a kernel that wants many loads under way says `__launch_bounds__(n, groups_with(registers))` and gets them.
#pragma once

#include <cstdint>

#if defined(LFM_GPU_HIP)
#include <hip/hip_runtime.h>
#endif
#if !defined(LFM_GPU_CUDA) && !defined(LFM_GPU_HIP)
#include "backends/gpu/emulation/threads.h"
#endif

namespace lfm::gpu {

/// The second of a kernel's launch bounds, for groups of 256 threads with so many registers for each. CUDA counts
/// groups of a processor, which has 65536 registers. HIP counts waves of a quarter of one; with two no kernel spills.
constexpr std::uint32_t groups_with([[maybe_unused]] std::uint32_t registers) {
#if defined(LFM_GPU_HIP)
    return 2;
#else
    return 65536 / 256 / registers;
#endif
}

struct Index3 {
    std::uint32_t x, y, z;
};

#if defined(LFM_GPU_CUDA) || defined(LFM_GPU_HIP)

/// Within the group.
__device__ inline std::uint32_t thread_index() { return threadIdx.x; }
__device__ inline std::uint32_t group_size() { return blockDim.x; }
__device__ inline Index3 group_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
__device__ inline Index3 n_groups() { return {gridDim.x, gridDim.y, gridDim.z}; }

/// All threads of the group meet; what they wrote to shared and device memory is seen by all.
__device__ inline void sync_group() { __syncthreads(); }

/// The group's shared memory, not initialised: as much as the kernel was declared with.
template <typename T>
__device__ inline T& shared_memory() {
    extern __shared__ __align__(128) unsigned char bytes_of_group[];
    return *reinterpret_cast<T*>(bytes_of_group);
}

/// Returns what was there. In shared memory, or in the device's.
__device__ inline std::uint32_t add_atomically(std::uint32_t* to, std::uint32_t value) { return atomicAdd(to, value); }

/// What this thread wrote before is seen by all threads of the device before what it writes after; and what it reads
/// after is no older than what it read before.
__device__ inline void fence_device() { __threadfence(); }
/// Adds to a ticket: a number in device memory that says how many groups have arrived. Returns what was there. Needs
/// fence_device() before and after it.
__device__ inline std::uint32_t arrive(std::uint32_t* ticket, std::uint32_t n) { return atomicAdd(ticket, n); }

/// From here on the next kernel of the stream may start, if it is launched with Start::kEarly (platform/api.h), as soon
/// as all groups of this one are here. Not for kernels that wait for anything but the kernels before them on their
/// stream: those that started early could occupy the processors that the awaited work needs.
__device__ inline void let_next_start() {
#if defined(LFM_GPU_CUDA) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Waits for the end of the kernels before this one on its stream; what they wrote is there. Every thread calls it,
/// before it reads or writes anything but its arguments; prefetch() may come before.
__device__ inline void await_earlier() {
#if defined(LFM_GPU_CUDA) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// What was written before is seen by the host and by other devices before what is written after.
__device__ inline void fence_system() { __threadfence_system(); }
/// For flags in pinned memory, which the host may read or write at any time.
__device__ inline std::uint64_t load_flag(const std::uint64_t* flag) {
    return *static_cast<const volatile std::uint64_t*>(flag);
}
__device__ inline void store_flag(std::uint64_t* flag, std::uint64_t value) {
    *static_cast<volatile std::uint64_t*>(flag) = value;
}
/// A clock that runs whatever the device does; api::Properties::ticks_per_second is its rate.
__device__ inline std::uint64_t device_ticks() {
#if defined(LFM_GPU_CUDA)
    std::uint64_t nanoseconds;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(nanoseconds));
    return nanoseconds;
#else
    return static_cast<std::uint64_t>(clock64());
#endif
}
/// For a loop that polls memory: lets other threads run in between.
__device__ inline void pause() {
#if defined(LFM_GPU_CUDA)
    __nanosleep(20);
#else
    __builtin_amdgcn_s_sleep(1);
#endif
}

#else

// Keywords of the language that mean nothing on the CPU.
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

inline std::uint32_t thread_index() { return emulation::thread_index(); }
inline std::uint32_t group_size() { return emulation::group_size(); }
inline Index3 group_index() {
    return {emulation::group_index(0), emulation::group_index(1), emulation::group_index(2)};
}
inline Index3 n_groups() { return {emulation::n_groups(0), emulation::n_groups(1), emulation::n_groups(2)}; }
inline void sync_group(emulation::SourcePlace place = emulation::SourcePlace::current()) {
    emulation::sync_group(place);
}
template <typename T>
T& shared_memory() {
    return *static_cast<T*>(emulation::shared_memory(sizeof(T)));
}
inline std::uint32_t add_atomically(std::uint32_t* to, std::uint32_t value) {
    return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
// For ThreadSanitizer, which does not know fences, the ticket itself orders what is around it.
inline void fence_device() {}
inline std::uint32_t arrive(std::uint32_t* ticket, std::uint32_t n) {
    return __atomic_fetch_add(ticket, n, __ATOMIC_ACQ_REL);
}
inline void let_next_start() { emulation::let_next_start(); }
inline void await_earlier(emulation::SourcePlace place = emulation::SourcePlace::current()) {
    emulation::await_earlier(place);
}
inline void fence_system() { emulation::fence_system(); }
inline std::uint64_t load_flag(const std::uint64_t* flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
inline void store_flag(std::uint64_t* flag, std::uint64_t value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
inline std::uint64_t device_ticks() { return emulation::device_ticks(); }
inline void pause() { emulation::pause(); }

#endif

/// The first call of kernels that have nothing to prefetch.
__device__ inline void begin_kernel() {
    let_next_start();
    await_earlier();
}

}  // namespace lfm::gpu
