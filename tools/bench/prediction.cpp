#include "tools/bench/prediction.h"

#include <algorithm>

#include "planner/cost/prefill_cost.h"
#include "planner/plan/make_plan.h"

namespace lfm::tools {
namespace {

Placement placement_of(const Plan& plan) {
    Placement placement = host_placement(plan.layers.size());
    placement.output = plan.output;
    for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
        LayerPlacement& place = placement.layers[layer];
        place.home = plan.layers[layer];
        place.experts.n_slots = plan.n_slots[layer];
        const auto first = plan.experts.begin() + static_cast<std::ptrdiff_t>(layer * plan.model.n_expert);
        if (layer >= plan.model.n_layer_dense)
            place.experts.n_resident =
                static_cast<std::uint32_t>(std::count(first, first + plan.model.n_expert, kDevice));
    }
    return placement;
}

}  // namespace

std::optional<double> predict(const PredictionInputs& in, const BenchTest& test) {
    if (in.model.hyper.n_expert_used > kMostExpertsUsed) return std::nullopt;
    const Placement placement = placement_of(in.plan);
    const MachineRates rates = rates_of(in.machine, in.device, FigureEnd::kMid);
    const Routing routing = in.routing ? *in.routing : uniform_routing(in.model.hyper);
    const KvTypes kv = in.plan.sizes.kv;
    if (test.n_gen > 0) {
        const DecodeCost cost(in.model, rates, routing, kv, test.n_depth + test.n_gen / 2);
        return 1 / step_time(cost, placement).total();
    }
    double seconds = 0;
    for (std::uint32_t first = 0; first < test.n_prompt; first += in.n_batch)
        seconds +=
            prefill_time(in.model, rates, routing, kv, placement, std::min(in.n_batch, test.n_prompt - first)).seconds;
    return test.n_prompt / seconds;
}

bool profiled_alike(const HostProfile& host, const SessionOptions& options) {
    const cpu::Kernels& kernels = options.kernels != nullptr ? *options.kernels : cpu::best_kernels();
    return kernels.name == host.instruction_set && options.n_threads == host.n_threads;
}

}  // namespace lfm::tools
