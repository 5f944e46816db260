// Faults on demand, and the counts that they refer to.
#pragma once

#include <cstdint>

#include "backends/gpu/emulation/api.h"

namespace lfm::gpu::emulation {

enum class Recurrence : std::uint8_t { kOnce, kForGood };

/// Counted from reset_machine() on, from 1; 0: never.
struct Faults {
    /// That allocation is refused, of device memory or pinned.
    std::uint64_t refuse_allocation = 0;
    Recurrence refusal = Recurrence::kOnce;
    /// That pin() is refused.
    std::uint64_t refuse_pin = 0;
    Recurrence pin_refusal = Recurrence::kOnce;
    /// From that begin_capture() on all are refused; that graph is refused when it is instantiated.
    std::uint64_t refuse_captures_from = 0, refuse_graph = 0;
    /// The device is lost at that call of the runtime, of any kind but those that need no device (error_name,
    /// forget_error, count_devices, set_device, versions, properties).
    std::uint64_t lose_at_call = 0;
    api::Status loss = api::Status::kLaunchFailure;
};

/// How far the counts of Faults have come.
struct Counts {
    std::uint64_t allocations = 0, pins = 0, calls = 0, captures = 0, graphs = 0;
    std::uint64_t most_waiting = 0;  // launches, graphs and copies of one stream that were not done, at most
    std::uint64_t launches = 0, graph_launches = 0, copies = 0;  // enqueued, or collected by a capture
    std::uint64_t early_launches = 0;                            // of the launches: Start::kEarly
    bool operator==(const Counts&) const = default;
};

/// From now on; counts go on.
void set_faults(const Faults& faults);
Counts counts();
/// Now: streams drop what they have to do, kernels that wait end, and every later call returns `status`.
void lose_device(api::Status status);

}  // namespace lfm::gpu::emulation
