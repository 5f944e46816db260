// Looks between answers whether another split would be faster, once the host has shown how fast it really is.
#pragma once

#include <cstdint>
#include <optional>

#include "planner/plan/resplit.h"
#include "runtime/session/placed.h"

namespace lfm {

struct BetterSplit {
    Resplit split;
    Planning planning;  // of the machine as it has shown itself
};

class SplitWatch {
public:
    /// A split that repays the move within as many tokens as were decoded so far (planner/plan/resplit.h); at most one
    /// search in CostLearner::kLearnedSteps decode steps. Nothing when `request`, with which `placed` was placed, has
    /// no Planning, when no device takes part, or when the host is about as fast as its profile says.
    std::optional<BetterSplit> look(const Placed& placed, const PlaceRequest& request);

private:
    std::uint64_t n_seen_ = 0;  // decode steps of this session at the last search
};

}  // namespace lfm
