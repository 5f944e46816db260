#include "planner/plan/ram_needs.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lfm {
namespace {

/// Adds to the one or the other by where a thing lies.
struct Sides {
    Bytes host, device;
    Bytes& at(DeviceId place) { return place == kHost ? host : device; }
};

struct Placed {
    Sides weights, kv, conv_state;
};

Placed placed(const Inventory& inventory, const Plan& plan) {
    Placed sums;
    sums.weights.at(plan.embedding) += inventory.embedding;
    sums.weights.at(plan.output) += inventory.output + inventory.output_norm;
    for (std::size_t i = 0; i < inventory.layers.size(); ++i) {
        const LayerInventory& layer = inventory.layers[i];
        const DeviceId home = plan.layers[i];
        sums.weights.at(home) += layer.mixer + layer.ffn;
        sums.kv.at(home) += layer.kv;
        sums.conv_state.at(home) += layer.conv_state;
        for (std::uint32_t e = 0; e < layer.n_expert; ++e)
            sums.weights.at(plan.experts[i * layer.n_expert + e]) += layer.expert;
    }
    return sums;
}

}  // namespace

RamNeeds ram_needs(const ModelDescription& model, const Plan& plan) {
    const Inventory inventory = take_inventory(model, plan.sizes);
    const Placed sums = placed(inventory, plan);
    return {.weights = sums.weights.host,
            .vectors = inventory.vectors,
            .kv = sums.kv.host,
            .conv_state = sums.conv_state.host,
            .activations = inventory.activations,
            .scratch = inventory.scratch};
}

Bytes least_device_needs(const ModelDescription& model, const Plan& plan) {
    const Placed sums = placed(take_inventory(model, plan.sizes), plan);
    return sums.weights.device + sums.kv.device + sums.conv_state.device;
}

std::string largest_part(const RamNeeds& needs, Bytes weights) {
    const std::array<std::pair<const char*, Bytes>, 5> parts{{{"weights", weights + needs.vectors},
                                                              {"KV cache", needs.kv},
                                                              {"conv state", needs.conv_state},
                                                              {"activations", needs.activations},
                                                              {"scratch", needs.scratch}}};
    const auto& largest = *std::ranges::max_element(parts, {}, [](const auto& part) { return part.second; });
    return std::string(largest.first) + " " + format_bytes(largest.second);
}

}  // namespace lfm
