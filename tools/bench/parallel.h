// Many sequences in each step: their prompts together, then a token of each at a time.
#pragma once

#include <vector>

#include "runtime/step/runner.h"
#include "tools/bench/run.h"

namespace lfm::tools {

/// Two results, of the prompts and of the tokens after them; only that which the test has. Experts are drawn from
/// `inputs.routing`, where there is one, by a count of all rows so far: no two rows of a step are the same token.
/// `watcher` outlives the call.
std::vector<BenchResult> run_parallel(const ParallelTest& test, BenchInputs& inputs, StepWatcher* watcher);

}  // namespace lfm::tools
