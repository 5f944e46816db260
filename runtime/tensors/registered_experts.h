// Experts in RAM that may travel to the device, registered with its driver so that copies need no help of the host.
#pragma once

#include <vector>

#include "backends/device.h"
#include "planner/plan/plan.h"
#include "runtime/tensors/weights.h"

namespace lfm {

class RegisteredExperts {
public:
    /// Registers nothing when `device` is null or would not gain by it, when no expert may travel, or when they are
    /// more than the system has memory for. Never more than the plan leaves in RAM: whole pages only.
    RegisteredExperts(const Plan& plan, const Weights& weights, Device* device);

    /// Of the experts that may travel, and what the driver accepted of them. Both 0: nothing was asked.
    Bytes wanted() const { return wanted_; }
    Bytes registered() const { return registered_; }

private:
    std::vector<HostRegistration> registrations_;
    Bytes wanted_, registered_;
};

}  // namespace lfm
