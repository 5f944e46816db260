// What the cost model says of a test that lfm-bench is about to measure.
#pragma once

#include <optional>

#include "planner/machine/machine.h"
#include "planner/model/routing.h"
#include "planner/plan/plan.h"
#include "runtime/session/session.h"
#include "tools/bench/report.h"

namespace lfm::tools {

struct PredictionInputs {
    const ModelDescription& model;
    const Plan& plan;  // whose placement is predicted for
    const MachineProfile& machine;
    std::optional<std::size_t> device;  // of the machine's, when the plan uses one
    std::optional<Routing> routing;     // nothing: uniform
    std::uint32_t n_batch = 0;
};

/// Tokens per second. Nothing for models that the planner does not know how to predict for.
std::optional<double> predict(const PredictionInputs& inputs, const BenchTest& test);

/// Whether the host was profiled with the kernels and threads of the options.
bool profiled_alike(const HostProfile& host, const SessionOptions& options);

}  // namespace lfm::tools
