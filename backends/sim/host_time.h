// How long the host beside a simulated device takes for its part of a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/sim/sim_rates.h"

namespace lfm::sim {

struct HostRates {
    SimRates processor{.tile_tokens = 1};
    double slowdown = 1;  // how many times as long experts take while others travel to the device
};

class HostTime {
public:
    explicit HostTime(const HostRates& rates) : rates_(rates) {}

    /// Of operations that have run: experts as chosen, but for those that the device holds or that are staged there.
    double seconds(std::span<const Operation> operations, const StepParams& step);

private:
    double experts(const Operation& operation, const ExpertFfnArgs& args, const StepParams& step);

    HostRates rates_;
    std::vector<std::uint32_t> n_tokens_;  // [n_expert], of the operation
};

}  // namespace lfm::sim
