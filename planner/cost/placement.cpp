#include "planner/cost/placement.h"

namespace lfm {

Bytes output_bytes(const Inventory& inventory) {
    return (inventory.output.value > 0 ? inventory.output : inventory.embedding) + inventory.output_norm;
}

Bytes layer_bytes(const LayerInventory& layer, ExpertShare share) {
    const std::uint64_t n = share.n_resident + share.n_slots;
    return layer.home() + Bytes{n * layer.expert.value};
}

Bytes everything(const Inventory& inventory) { return inventory.weights() + inventory.kv() + inventory.conv_state(); }

Bytes placed_bytes(const Inventory& inventory, const Placement& placement) {
    Bytes sum;
    for (std::size_t i = 0; i < placement.layers.size(); ++i)
        if (placement.layers[i].home != kHost) sum += layer_bytes(inventory.layers[i], placement.layers[i].experts);
    if (placement.output != kHost) sum += output_bytes(inventory);
    return sum;
}

Bytes host_bytes(const Inventory& inventory, const Placement& placement) {
    // Slots hold copies: what is in them stays in RAM too.
    Placement without_slots = placement;
    for (LayerPlacement& layer : without_slots.layers) layer.experts.n_slots = 0;
    Bytes left = everything(inventory);
    return left -= placed_bytes(inventory, without_slots);
}

TimeParts step_time(const DecodeCost& cost, const Placement& placement) {
    TimeParts time;
    DeviceId at = placement.layers.empty() ? kHost : placement.layers.front().home;
    bool device_used = placement.output != kHost;
    for (std::uint32_t i = 0; i < placement.layers.size(); ++i) {
        const LayerPlacement& layer = placement.layers[i];
        if (layer.home != at) time.add(cost.border());
        at = layer.home;
        device_used = device_used || at != kHost;
        time.add(at == kHost ? cost.host_layer(i) : cost.device_layer(i, layer.experts));
    }
    if (placement.output != at) time.add(cost.border());
    time.add(cost.output(placement.output));
    if (device_used) time.add(cost.step_overhead());
    return time;
}

Placement host_placement(std::size_t n_layer) {
    Placement placement;
    placement.layers.resize(n_layer);
    return placement;
}

}  // namespace lfm
