#include "planner/plan/resplit.h"

#include "planner/cost/placement.h"

namespace lfm {
namespace {

Placement placement_of(const Plan& plan) {
    Placement placement;
    placement.output = plan.output;
    const std::uint32_t n_expert = plan.model.n_expert;
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
        LayerPlacement layer{.home = plan.layers[i], .experts = {.n_resident = 0, .n_slots = plan.n_slots[i]}};
        if (i >= plan.model.n_layer_dense)
            for (std::uint32_t e = 0; e < n_expert; ++e)
                layer.experts.n_resident += plan.experts[i * n_expert + e] != kHost;
        placement.layers.push_back(layer);
    }
    return placement;
}

}  // namespace

MachineProfile with_slower_host(MachineProfile machine, double factor) {
    TypeFigures& read = machine.host.matvec_gb_per_s;
    for (auto& [type, figure] : read.types) figure.stated /= factor;
    if (read.others) read.others->stated /= factor;
    return machine;
}

std::optional<Resplit> find_resplit(const ModelDescription& model, const MachineProfile& machine,
                                    const PlanRequest& request, const Plan& present, std::uint32_t n_held) {
    auto result = make_plan(model, machine, request);
    auto* plan = std::get_if<Plan>(&result);
    if (plan == nullptr || !plan->uses_device()) return std::nullopt;
    const MachineRates rates = rates_of(machine, request.device, FigureEnd::kMid);
    const Routing routing = request.routing ? *request.routing : uniform_routing(model.hyper);
    const DecodeCost cost(model, rates, routing, request.sizes.kv, plan->depth);
    Resplit found{.now = step_time(cost, placement_of(present)).total(),
                  .then = step_time(cost, placement_of(*plan)).total()};
    if (found.then >= found.now) return std::nullopt;
    found.move =
        static_cast<double>(plan->used(kDevice).value) * rates.link.h2d_seconds_per_byte + n_held / plan->prefill.mid;
    found.plan = std::move(*plan);
    return found;
}

}  // namespace lfm
