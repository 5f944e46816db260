// Where everything goes, and what that takes: bytes on the device, bytes in RAM, seconds of a decode step.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/cost/decode_cost.h"
#include "planner/cost/inventory.h"

namespace lfm {

struct LayerPlacement {
    DeviceId home = kHost;  // of operator, norms, dense FFN or router, KV cache or conv state
    ExpertShare experts;    // on the device; none where home is the host
    bool operator==(const LayerPlacement& other) const {
        return home == other.home && experts.n_resident == other.experts.n_resident &&
               experts.n_slots == other.experts.n_slots;
    }
};

struct Placement {
    std::vector<LayerPlacement> layers;
    DeviceId output = kHost;  // the matrix that gives logits, and with it a tied embedding
};

inline constexpr DeviceId kDevice{1};  // the one device that a plan uses beside the host

/// Bytes that a device takes besides what is placed on it, as soon as it is used at all.
struct DeviceOverhead {
    Bytes context, activations, bridge, scratch, staging;
    Bytes total() const { return context + activations + bridge + scratch + staging; }
};

/// Of a layer that is at home on the device, with its share of experts.
Bytes layer_bytes(const LayerInventory& layer, ExpertShare share);
/// Of the output matrix and its norm, wherever they are.
Bytes output_bytes(const Inventory& inventory);
/// Weights, KV cache and conv state of the whole model.
Bytes everything(const Inventory& inventory);

/// Bytes on the device that come with the placement (without the overhead).
Bytes placed_bytes(const Inventory& inventory, const Placement& placement);
/// Bytes of weights, KV cache and conv state that stay in RAM.
Bytes host_bytes(const Inventory& inventory, const Placement& placement);

/// Predicted time of one decode step.
TimeParts step_time(const DecodeCost& cost, const Placement& placement);

Placement host_placement(std::size_t n_layer);

}  // namespace lfm
