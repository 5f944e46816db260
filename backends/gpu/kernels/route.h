// A token's choice of experts from the router's logits: one group per token, grid {per_row(kTokens), 1, 1}.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

struct RoutePush {
    const Step* step;
    const float* logits;  // [n, n_expert]
    const float* bias;    // [n_expert] or null
    std::int32_t* ids;    // [n, n_expert_used]
    float* weights;       // [n, n_expert_used]
    float scale;
    std::uint32_t n_expert, n_expert_used, moe_layer;
};
Kernel route_kernel();

}  // namespace lfm::gpu
