// Operations that follow each other become fewer launches than one by one: a launch also does what the operations after
// it do with its results. What they leave in memory is the same, to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/gpu/recorder.h"

namespace lfm::gpu {

/// Where the device meets others between two operations.
struct Meeting {
    std::size_t before;  // index of the operation that follows; meetings are sorted by it
    bool tells = false;  // somebody waits for what is done until here
    bool waits = false;  // what follows needs what somebody else does
};

/// Records operations that run one after another. Returns how many launches come before each meeting.
std::vector<std::uint32_t> lower_all(Recorder& recorder, std::span<const Operation> operations,
                                     std::span<const Meeting> meetings = {});

}  // namespace lfm::gpu
