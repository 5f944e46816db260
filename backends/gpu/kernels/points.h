// Where the device meets the host inside a step: flags in pinned memory whose values only rise. One side writes them,
// the other reads them.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// The points of one program as submitted; 0: none.
struct BatchPoints {
    std::uint64_t host;  // values to wait for before it
    std::uint64_t copy;
    std::uint64_t reached;  // of the compute timeline, after it
};

/// Where a kernel notes that it gave up waiting. Those after it in the step then do not wait.
struct GaveUp {
    std::uint64_t* here;  // in the device's memory: every waiting kernel reads it
    std::uint64_t* host;  // a flag in pinned memory
};

/// Says that programs have finished, then waits for what the next one needs, for most_ticks at most. One group.
struct MeetPush {
    // Where a launch serves many steps, as part of a graph, its points lie in device memory.
    const BatchPoints* finished;  // null: as in `points`
    const BatchPoints* next;
    BatchPoints points;
    std::uint64_t* compute;  // flags
    const std::uint64_t* copy;
    const std::uint64_t* host;
    GaveUp gave_up;
    std::uint64_t most_ticks;  // of device_ticks() (platform/kernel.h)
};
Kernel meet_kernel();

/// Raises a flag. One group.
struct RaisePush {
    std::uint64_t* flag;
    std::uint64_t value;
};
Kernel raise_kernel();

}  // namespace lfm::gpu
