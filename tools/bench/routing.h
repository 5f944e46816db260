// How often lfm-bench's tokens use each expert, for the plan.
#pragma once

#include "planner/model/routing.h"
#include "runtime/experts/routing_trace.h"

namespace lfm::tools {

/// What counting a long run would find: a synthetic trace's own frequencies, a recorded one's counts. `hyper` has
/// experts. Throws what reading the file throws.
Routing expected_routing(const RoutingTraceSpec& spec, const HyperParameters& hyper);

}  // namespace lfm::tools
