// Which plan lfm-run obeys.
#pragma once

#include "planner/plan/plan.h"
#include "runtime/session/session.h"
#include "tools/common/console.h"
#include "tools/run/options.h"

namespace lfm::tools {

struct PlannedRun {
    SessionOptions session;
    DeviceChoice device;
    std::variant<std::monostate, Plan, Planning> plan;
};

/// The plan of --plan, which must match model, machine and device; else what to make one with when there is a device;
/// else everything in RAM. Throws Error{kInvalidInput} naming the difference, Error{kShortfall} when the RAM budget is
/// too small, what choose_device throws.
PlannedRun plan_run(const RunOptions& options, const ModelDescription& model, const Console& console);

}  // namespace lfm::tools
