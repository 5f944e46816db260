// The cost model's times for steps that a program measures.
#pragma once

#include <optional>

#include "planner/machine/machine.h"
#include "planner/model/routing.h"
#include "planner/plan/plan.h"
#include "runtime/step/session_options.h"

namespace lfm::tools {

struct PredictionInputs {
    const ModelDescription& model;
    const Plan& plan;  // whose placement is predicted for
    const MachineProfile& machine;
    std::optional<std::size_t> device;  // of the machine's, when the plan uses one
    std::optional<Routing> routing;     // nothing: uniform
};

/// Seconds of a step of one token after `depth` others. Nothing for models that the planner cannot predict.
std::optional<double> predict_decode(const PredictionInputs& inputs, std::uint32_t depth);
/// Of a step of prompt tokens, of which n_outputs get logits.
std::optional<double> predict_prefill(const PredictionInputs& inputs, std::uint32_t n_tokens, std::uint32_t n_outputs);

/// Whether the host was profiled with the kernels and threads of the options.
bool profiled_alike(const HostProfile& host, const SessionOptions& options);

}  // namespace lfm::tools
