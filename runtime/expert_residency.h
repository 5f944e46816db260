// Which experts are on the device at this moment: the plan's pinned ones, and those in the slots of the cache.
#pragma once

#include "memory/expert_table.h"
#include "planner/plan.h"
#include "runtime/device_arena.h"
#include "runtime/weights.h"

namespace lfm {

class ExpertResidency {
public:
    /// Takes the slots' memory and fills them with the most frequent experts that are not pinned. `device` may be null
    /// when the plan has no slots. Throws Error{kShortfall}.
    ExpertResidency(const Plan& plan, const Weights& weights, Device* device);

    /// The one source of truth; changes between steps only.
    const ExpertTable& table() const { return table_; }

private:
    ExpertTable table_;
    DeviceArena slots_;
};

}  // namespace lfm
