// Experts in RAM that may travel to the device, registered with its driver so that copies need no help of the host.
#pragma once

#include <vector>

#include "backends/device.h"
#include "planner/plan/plan.h"
#include "runtime/tensors/weights.h"

namespace lfm {

class RegisteredExperts {
public:
    /// Registers nothing when `device` is null or would not gain by it, when no expert may travel, or when those that
    /// may are larger than the available memory. Only experts that the plan leaves in RAM, and of them whole pages.
    RegisteredExperts(const Plan& plan, const Weights& weights, Device* device);

    /// The size of the experts that may travel, and how much of it the driver accepted. Both 0: nothing was asked.
    Bytes wanted() const { return wanted_; }
    Bytes registered() const { return registered_; }

private:
    std::vector<HostRegistration> registrations_;
    Bytes wanted_, registered_;
};

}  // namespace lfm
