// The search for the placement with the least predicted time under the budgets.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "planner/cost/placement.h"

namespace lfm {

/// A search over all budgets up to one: exact for sizes rounded up to 1/8192 of the model. So it never gets slower
/// with a larger budget.
class PlacementSearch {
public:
    /// `most`: the largest budget that `best` will be asked for. References are kept.
    PlacementSearch(const Inventory& inventory, const DecodeCost& cost, Bytes most);

    /// The fastest placement with at most `device` bytes placed on the device and at most `host` bytes left in RAM.
    /// Nothing when none leaves so little.
    std::optional<Placement> best(Bytes device, Bytes host) const;

    /// The one that leaves the least in RAM.
    Placement fullest(Bytes device) const;

private:
    struct Option {
        ExpertShare share;
        std::uint32_t units;
        float seconds;
    };
    struct Row {                              // of one layer, by units used so far
        std::vector<float> seconds[2];        // by home
        std::vector<std::uint16_t> option;    // for the device
        std::vector<std::uint8_t> before[2];  // the layer before: its home
    };
    std::uint32_t units(Bytes bytes) const;
    std::vector<Option> options(std::uint32_t layer) const;
    void add_layer(std::uint32_t layer);
    std::optional<Placement> fastest(std::uint32_t least, std::uint32_t most) const;
    Placement trace_back(std::uint32_t used, int home, DeviceId output) const;

    const Inventory& inventory_;
    const DecodeCost& cost_;
    std::uint64_t unit_ = 1;
    std::uint32_t n_units_ = 0;
    std::uint32_t output_units_ = 0;
    std::vector<std::vector<Option>> options_;  // [n_layer]
    std::vector<Row> rows_;                     // [n_layer]
};

/// The best of the splits that other programs offer: the last layers whole on the device, or every layer at home
/// there with the experts of the last ones. Sizes to the byte.
struct WholeLayerSplit {
    Placement placement;
    std::uint32_t n_layer_on_device = 0;
};
std::optional<WholeLayerSplit> best_whole_layers(const Inventory& inventory, const DecodeCost& cost, Bytes device,
                                                 Bytes host);
std::optional<WholeLayerSplit> best_whole_expert_layers(const Inventory& inventory, const DecodeCost& cost,
                                                        Bytes device, Bytes host);

}  // namespace lfm
