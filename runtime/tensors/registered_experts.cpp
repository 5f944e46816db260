#include "runtime/tensors/registered_experts.h"

#include <algorithm>
#include <span>

#include "runtime/machine/host_memory.h"

namespace lfm {
namespace {

using Range = std::span<const std::byte>;

/// Whether experts of the layer may be copied to the device: into slots, or for one step.
bool may_travel(const Plan& plan, const Device& device, std::uint32_t layer) {
    if (layer < plan.model.n_layer_dense || plan.layers[layer] == kHost) return false;
    return plan.n_slots[layer] > 0 || (plan.n_staged > 1 && device.limits().copies_beside_work);
}

/// The matrices of all experts that may travel, by address, with adjacent ones merged.
std::vector<Range> ranges_of(const Plan& plan, const Weights& weights, const Device& device) {
    std::vector<Range> parts;
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer) {
        if (!may_travel(plan, device, layer)) continue;
        const ExpertSizes& sizes = weights.expert_sizes(layer);
        for (std::uint32_t e = 0; e < plan.model.n_expert; ++e) {
            if (plan.experts[std::size_t{layer} * plan.model.n_expert + e] != kHost) continue;
            const ExpertSlot from = weights.on_host({LayerId{layer}, e});
            parts.insert(parts.end(), {{from.gate, sizes.gate}, {from.up, sizes.up}, {from.down, sizes.down}});
        }
    }
    std::ranges::sort(parts, {}, &Range::data);
    std::vector<Range> merged;
    for (const Range part : parts)
        if (!merged.empty() && merged.back().data() + merged.back().size() == part.data())
            merged.back() = {merged.back().data(), merged.back().size() + part.size()};
        else
            merged.push_back(part);
    return merged;
}

}  // namespace

RegisteredExperts::RegisteredExperts(const Plan& plan, const Weights& weights, Device* device) {
    if (device == nullptr || !device->limits().registers_memory) return;
    const std::vector<Range> ranges = ranges_of(plan, weights, *device);
    for (const Range range : ranges) wanted_ += Bytes{range.size()};
    if (wanted_ > available_memory()) return;
    for (const Range range : ranges) registered_ += registrations_.emplace_back(device->register_memory(range)).bytes();
}

}  // namespace lfm
