// What the cost model says of a test that lfm-bench is about to measure.
#pragma once

#include <optional>

#include "planner/machine.h"
#include "runtime/session.h"
#include "tools/bench_report.h"

namespace lfm::tools {

/// Tokens per second on the CPU. Nothing for other kernels or threads than the profile was measured with.
std::optional<double> predict(const ModelDescription& model, const MachineProfile& machine,
                              const SessionOptions& options, const BenchTest& test);

}  // namespace lfm::tools
