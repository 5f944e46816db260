// Operations that follow each other become fewer launches than one by one: a launch takes over what the operations
// after it would do with its results. What they leave in memory is the same, to the bit.
#pragma once

#include <span>

#include "backends/backend.h"
#include "backends/gpu/recorder.h"

namespace lfm::gpu {

/// Records operations that run one after another.
void lower_all(Recorder& recorder, std::span<const Operation> operations);

}  // namespace lfm::gpu
