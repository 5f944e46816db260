// Which plan lfm-run obeys.
#pragma once

#include "planner/plan.h"
#include "runtime/session.h"
#include "tools/console.h"
#include "tools/run_options.h"

namespace lfm::tools {

struct PlannedRun {
    Plan plan;
    SessionOptions session;
};

/// The plan of --plan, which must match model, machine and this program's backends; else everything in RAM. Throws
/// Error{kInvalidInput} naming the difference, Error{kShortfall} when the RAM budget is too small.
PlannedRun plan_run(const RunOptions& options, const ModelDescription& model, const Console& console);

}  // namespace lfm::tools
