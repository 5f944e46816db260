// Plans as JSON (schema: profiles/plan.schema.json): to look at, to store, to run again.
#pragma once

#include <string>
#include <string_view>

#include "planner/plan/plan.h"

namespace lfm {

inline constexpr int kPlanFormatVersion = 1;

/// Keys in a fixed order, integers in bytes. parse_plan gives the same value back, but for control characters and
/// bytes that are no UTF-8 in names, which are replaced. Throws Error{kInvalidInput} for a plan that parse_plan would
/// not take: figures that are not finite, more than 64 parts of a machine's identity, more than 4 MiB.
std::string to_json(const Plan& plan);

/// `source` (a file's name) begins every message. Checks everything that can be without the model: types, ranges,
/// unknown keys, experts only where their layer's home is the device, memory within the budgets. Throws
/// Error{kInvalidInput} naming the path of the key ("placement.layers[3].experts_on_device[2]"), expected and found;
/// for another version, which one this program reads. `mismatch` tells whether model and machine are those of the plan;
/// that the bytes follow from the placement takes the model, too.
Plan parse_plan(std::string_view text, std::string_view source);

}  // namespace lfm
