// Groups of 32 neighbouring threads that exchange values. A warp of 64 is two of them side by side, so that kernels and
// whoever launches them need not know how wide it is. All threads of a warp call these together.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kLanes = 32;

__device__ inline std::uint32_t lane() { return thread_index() % kLanes; }
/// Which of the group's sets of lanes.
__device__ inline std::uint32_t lane_set() { return thread_index() / kLanes; }

// T: std::uint32_t, std::int32_t or float.
#if defined(LFM_GPU_CUDA)

inline constexpr std::uint32_t kAllLanes = 0xffffffff;
/// The value of lane() ^ mask; mask below 32.
template <typename T>
__device__ inline T lane_xor(T value, std::uint32_t mask) {
    return __shfl_xor_sync(kAllLanes, value, static_cast<int>(mask));
}
/// The value of lane `from`, below 32.
template <typename T>
__device__ inline T lane_value(T value, std::uint32_t from) {
    return __shfl_sync(kAllLanes, value, static_cast<int>(from));
}
/// What the lanes wrote to shared memory is seen by all of them.
__device__ inline void sync_lanes() { __syncwarp(); }

#elif defined(LFM_GPU_HIP)

template <typename T>
__device__ inline T lane_xor(T value, std::uint32_t mask) {
    return __shfl_xor(value, static_cast<int>(mask), kLanes);
}
template <typename T>
__device__ inline T lane_value(T value, std::uint32_t from) {
    return __shfl(value, static_cast<int>(from), kLanes);
}
// A wavefront runs in step; only the compiler must not move what is written.
__device__ inline void sync_lanes() { __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront"); }

#else

template <typename T>
T lane_xor(T value, std::uint32_t mask, emulation::SourcePlace place = emulation::SourcePlace::current()) {
    return emulation::read_lane(value, lane() ^ mask, place);
}
template <typename T>
T lane_value(T value, std::uint32_t from, emulation::SourcePlace place = emulation::SourcePlace::current()) {
    return emulation::read_lane(value, from, place);
}
inline void sync_lanes(emulation::SourcePlace place = emulation::SourcePlace::current()) {
    emulation::sync_lanes(place);
}

#endif

/// The same for every lane: added in the order of a tree, however wide the warp is.
__device__ inline float sum_of_lanes(float value) {
    for (std::uint32_t mask = kLanes / 2; mask > 0; mask /= 2) value += lane_xor(value, mask);
    return value;
}
__device__ inline float largest_of_lanes(float value) {
    for (std::uint32_t mask = kLanes / 2; mask > 0; mask /= 2) {
        const float other = lane_xor(value, mask);
        value = other > value ? other : value;
    }
    return value;
}

}  // namespace lfm::gpu
