// Whether another split is worth moving to, once the host has shown how fast it really is.
#pragma once

#include <cstdint>
#include <optional>

#include "planner/plan/make_plan.h"

namespace lfm {

/// The machine with a host that takes `factor` times as long to read experts and other weights for one token.
MachineProfile with_slower_host(MachineProfile machine, double factor);

struct Resplit {
    Plan plan;
    double now = 0, then = 0;  // seconds a token: the present split, the other
    double move = 0;           // seconds: upload over the bus, and the sequence computed anew

    bool repays_within(std::uint64_t n_tokens) const { return (now - then) * static_cast<double>(n_tokens) > move; }
};

/// The best split on `machine`, compared with `present` there. `request` as `present` was made with; n_held: tokens of
/// the sequence so far. Nothing when there is none that is faster.
std::optional<Resplit> find_resplit(const ModelDescription& model, const MachineProfile& machine,
                                    const PlanRequest& request, const Plan& present, std::uint32_t n_held);

}  // namespace lfm
