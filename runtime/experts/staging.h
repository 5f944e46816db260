// Device memory for experts that are there for one step only: two halves of slots, filled and used in turns.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/device.h"
#include "planner/plan/plan.h"
#include "runtime/tensors/weights.h"

namespace lfm {

/// A round is a set of experts of one layer that travel together into one half of the slots. Rounds are numbered over
/// all layers: round r uses half r mod 2, and map r of the bridge says which slots its experts are in.
struct StagingLayout {
    const std::byte* slots = nullptr;  // on the device
    std::size_t slot_bytes = 0;
    std::uint32_t n_per_round = 0;           // slots of one half
    std::vector<std::uint32_t> first_round;  // [n_layer + 1]

    std::vector<std::int32_t> anywhere;  // [n_layer, n_expert]: as slot_of, over all rounds; for the host
    std::uint32_t n_expert = 0;

    std::uint32_t n_rounds() const { return first_round.empty() ? 0 : first_round.back(); }
    std::uint32_t n_rounds(std::uint32_t layer) const { return first_round[layer + 1] - first_round[layer]; }
    /// [n_expert]: the slots of a layer's experts that travel, which the host does not compute; -1: does not travel.
    const std::int32_t* travelling(std::uint32_t layer) const { return &anywhere[std::size_t{layer} * n_expert]; }
    std::int32_t* travelling(std::uint32_t layer) { return &anywhere[std::size_t{layer} * n_expert]; }
    /// A slot's number in StagedExperts::slot_of.
    std::uint32_t slot(std::uint32_t round, std::uint32_t index) const { return round % 2 * n_per_round + index; }
};

/// Layers at home on the device with experts on the host get as many rounds as the plan's n_streamed needs, at least
/// one.
class Staging {
public:
    /// Takes no memory when no layer needs any. `device` may be null then.
    Staging(const Plan& plan, const Weights& weights, Device* device);

    const StagingLayout& layout() const { return layout_; }
    StagingLayout& layout() { return layout_; }

private:
    DeviceBlock block_;
    StagingLayout layout_;
};

}  // namespace lfm
