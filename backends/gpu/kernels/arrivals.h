// Groups of one launch that finish something together: each arrives when its share is written, and the last to arrive
// does what needs them all. So two kernels become one launch; nobody waits, and groups may run in any order.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

/// Whether this group is the last of n to arrive: its threads then see what the others wrote. The whole group calls it,
/// at most once with the same `shared`.
__device__ inline bool arrives_last(std::uint32_t* ticket, std::uint32_t n, std::uint32_t& shared) {
    fence_device();
    sync_group();
    if (thread_index() == 0) {
        shared = arrive(ticket, 1) + 1 == n ? 1 : 0;
        if (shared != 0) *ticket = 0;
    }
    sync_group();
    if (shared == 0) return false;
    fence_device();
    return true;
}

}  // namespace lfm::gpu
