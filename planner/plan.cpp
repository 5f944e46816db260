#include "planner/plan.h"

namespace lfm {

Plan make_host_plan(const ModelDescription& model, const PlanRequest& request) {
    const std::size_t n_layer = model.hyper.n_layer;
    Plan plan;
    plan.n_ctx = request.n_ctx;
    plan.n_batch = request.n_batch;
    plan.layers.assign(n_layer, kHost);
    plan.experts.assign(n_layer * model.hyper.n_expert, kHost);
    return plan;
}

}  // namespace lfm
