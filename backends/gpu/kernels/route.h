// The router's choice of experts.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kMostExperts = 512;
inline constexpr std::uint32_t kMostChosen = 64;

struct RoutePush {
    const Step* step;
    const float* logits;  // [n, n_expert]
    const float* bias;    // [n_expert] or null
    std::int32_t* ids;    // [n, n_expert_used]
    float* weights;
    std::int32_t* ids_too;  // null, or a second place
    float* weights_too;     // likewise
    float scale;
    std::uint32_t n_expert;       // at most kMostExperts
    std::uint32_t n_expert_used;  // at most kMostChosen, and n_expert
    std::uint32_t moe_layer;
};
/// A group a token, along x.
Kernel route_kernel();

/// The router's product with one row of x, in f32, and then the choice: by the last group. On the grid {groups},
/// which share out the rows as VectorPush's do.
struct RouteVectorPush {
    RoutePush route;  // its logits are those below
    float* logits;
    const float* x;
    const std::byte* router;
    std::uint32_t* ticket;
    std::uint32_t row_bytes, n_in, sets_per_row;
};

}  // namespace lfm::gpu
