// What the simulated device does to an operation's outputs without computing them.
#pragma once

#include "backends/backend.h"

namespace lfm::sim {

/// NaN into the rows that the operation wrote in this step, also in the cache of keys and values.
void write_nan(const Operation& operation, const StepParams& step);

/// The forced experts, or the first ones, each with the same weight.
void route_without_router(const RouteArgs& args, const StepParams& step);

}  // namespace lfm::sim
