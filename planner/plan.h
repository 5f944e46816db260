// The plan: what lives where, decided before a byte is loaded. The runtime obeys it.
#pragma once

#include <vector>

#include "memory/units.h"
#include "planner/model.h"

namespace lfm {

struct PlanRequest {
    std::uint32_t n_ctx = 0;
    std::uint32_t n_batch = 0;
};

/// Which device computes each layer's mixer and dense parts, and which holds each expert.
struct Plan {
    std::uint32_t n_ctx = 0;
    std::uint32_t n_batch = 0;
    DeviceId embedding = kHost;
    DeviceId output = kHost;
    std::vector<DeviceId> layers;   // [n_layer]
    std::vector<DeviceId> experts;  // [n_layer, n_expert]; entries of dense layers are unused
};

/// Everything in RAM.
Plan make_host_plan(const ModelDescription& model, const PlanRequest& request);

}  // namespace lfm
