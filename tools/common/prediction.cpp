#include "tools/common/prediction.h"

#include "planner/cost/prefill_cost.h"
#include "planner/plan/make_plan.h"

namespace lfm::tools {
namespace {

bool is_known(const PredictionInputs& in) { return in.model.hyper.n_expert_used <= kMostExpertsUsed; }
MachineRates rates_of(const PredictionInputs& in) { return lfm::rates_of(in.machine, in.device, FigureEnd::kMid); }
Routing routing_of(const PredictionInputs& in) { return in.routing ? *in.routing : uniform_routing(in.model.hyper); }

}  // namespace

std::optional<double> predict_decode(const PredictionInputs& in, std::uint32_t depth) {
    if (!is_known(in)) return std::nullopt;
    const DecodeCost cost(in.model, rates_of(in), routing_of(in), in.plan.sizes.kv, depth);
    return step_time(cost, placement_of(in.plan)).total();
}

std::optional<double> predict_prefill(const PredictionInputs& in, std::uint32_t n_tokens, std::uint32_t n_outputs) {
    if (!is_known(in)) return std::nullopt;
    return prefill_time(in.model, rates_of(in), routing_of(in), in.plan.sizes.kv, placement_of(in.plan), n_tokens,
                        n_outputs)
        .seconds;
}

bool profiled_alike(const HostProfile& host, const SessionOptions& options) {
    const cpu::Kernels& kernels = options.kernels != nullptr ? *options.kernels : cpu::best_kernels();
    return kernels.name == host.instruction_set && options.n_threads == host.n_threads;
}

}  // namespace lfm::tools
