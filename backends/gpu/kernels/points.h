// Where the device meets the host inside a step: flags in pinned memory that rise, which one side writes and the other
// reads.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// The points of one program as submitted. In device memory.
struct BatchPoints {
    std::uint64_t host;  // values to wait for before it; 0: none
    std::uint64_t copy;
    std::uint64_t reached;  // of the compute timeline, after it
};

/// Says that one program has finished, then waits for what the next one needs. One group.
struct MeetPush {
    const BatchPoints* finished;  // null: none before
    const BatchPoints* next;      // null: none after
    std::uint64_t* compute;       // flags
    const std::uint64_t* copy;
    const std::uint64_t* host;
};
Kernel meet_kernel();

/// Raises a flag. One group.
struct RaisePush {
    std::uint64_t* flag;
    std::uint64_t value;
};
Kernel raise_kernel();

}  // namespace lfm::gpu
