// How many kernels an operation of many tokens becomes on a device that has a queue for them: about as many as
// backends/gpu makes of it.
#pragma once

#include <cstdint>
#include <variant>

#include "backends/backend.h"

namespace lfm::sim {

inline std::uint32_t launches_of(const Operation& operation) {
    constexpr std::uint32_t kRoute = 2;  // the router's matrix, and the choice
    // Sorting tokens by expert, their activations to bytes, gate, up and down, what lies between, and the sums.
    constexpr std::uint32_t kExperts = 7;
    if (const auto* matmul = std::get_if<MatmulArgs>(&operation)) return matmul->n_outputs + 1;  // activations to bytes
    if (std::holds_alternative<RouteArgs>(operation)) return kRoute;
    return std::holds_alternative<ExpertFfnArgs>(operation) ? kExperts : 1;
}

}  // namespace lfm::sim
