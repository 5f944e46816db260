#include "planner/plan/resplit.h"

namespace lfm {
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
