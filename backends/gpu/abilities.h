// What the driver and its environment (settings, profilers, sanitizers) allow, tried out when a device is opened: some
// environments run one kernel at a time, some drivers make graphs that do not do what was captured. For each missing
// ability there is a slower way, and a remark that says so.
#pragma once

#include <optional>
#include <string>

#include "backends/gpu/health.h"
#include "backends/gpu/memory.h"

namespace lfm::gpu {

struct Abilities {
    /// Why kernels must not wait for the host or for copies; nothing where they may.
    std::optional<std::string> why_no_waits;
    /// Why there are no graphs; nothing where there are.
    std::optional<std::string> why_no_graphs;
    /// Why kernels must not start early; nothing where they may.
    std::optional<std::string> why_in_turn;
};

struct Trial {
    api::Stream compute, copies;
    double ticks_per_second;  // api::Properties
};
/// Both streams must be idle. Takes some 100 µs, up to half a second where kernels do not run side by side. Throws
/// Error{kShortfall} or Error{kUsage} when the device cannot run even these kernels.
Abilities try_out(Memory& memory, const Trial& trial);

}  // namespace lfm::gpu
