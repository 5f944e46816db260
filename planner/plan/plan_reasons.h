// Why each item lies where it does, in words with figures.
#pragma once

#include "planner/cost/placement.h"
#include "planner/plan/plan.h"

namespace lfm {

/// Fills layer_reasons, expert_reasons and output_reason.
void add_reasons(Plan& plan, const Placement& placement, const DecodeCost& cost, const Inventory& inventory);

}  // namespace lfm
