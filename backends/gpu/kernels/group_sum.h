// Sums over a group of threads.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

template <std::uint32_t n_threads>
struct GroupSums {
    float of_set[n_threads / kLanes];
};

/// The sum of all threads' values, the same for every thread, added in a fixed order. All threads of the group call it,
/// and sync_group() before they use `shared` again.
template <std::uint32_t n_threads>
__device__ inline float sum_of_group(float value, GroupSums<n_threads>& shared) {
    const float part = sum_of_lanes(value);
    if (lane() == 0) shared.of_set[lane_set()] = part;
    sync_group();
    float sum = 0;
    for (std::uint32_t i = 0; i < n_threads / kLanes; ++i) sum += shared.of_set[i];
    return sum;
}

}  // namespace lfm::gpu
