#include "runtime/experts/staging.h"

#include <algorithm>

namespace lfm {
namespace {

bool has_experts_elsewhere(const Plan& plan, std::uint32_t layer) {
    if (layer < plan.model.n_layer_dense || plan.layers[layer] == kHost) return false;
    const std::size_t n_expert = plan.model.n_expert;
    const auto first = plan.experts.begin() + static_cast<std::ptrdiff_t>(layer * n_expert);
    return std::any_of(first, first + static_cast<std::ptrdiff_t>(n_expert),
                       [](DeviceId place) { return place == kHost; });
}

}  // namespace

Staging::Staging(const Plan& plan, const Weights& weights, Device* device) {
    layout_.first_round.assign(plan.model.n_layer + 1, 0);
    // Nothing travels within a step where the device cannot copy and compute at once.
    if (device == nullptr || !device->limits().copies_beside_work) return;
    layout_.n_per_round = plan.n_staged / 2;
    for (std::uint32_t i = 0; i < plan.model.n_layer; ++i) {
        std::uint32_t n_rounds = 0;
        if (layout_.n_per_round > 0 && has_experts_elsewhere(plan, i)) {
            n_rounds = std::max(1u, (plan.n_streamed[i] + layout_.n_per_round - 1) / layout_.n_per_round);
            layout_.slot_bytes = std::max(layout_.slot_bytes, weights.expert_sizes(i).slot());
        }
        layout_.first_round[i + 1] = layout_.first_round[i] + n_rounds;
    }
    if (layout_.n_rounds() == 0) return;
    block_ = device->allocate(MemoryKind::kOwn, Purpose::kStaging,
                              2 * std::size_t{layout_.n_per_round} * layout_.slot_bytes);
    layout_.slots = block_.address();
    layout_.n_expert = plan.model.n_expert;
    layout_.anywhere.assign(std::size_t{plan.model.n_layer} * plan.model.n_expert, -1);
}

}  // namespace lfm
