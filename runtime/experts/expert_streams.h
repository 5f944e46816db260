// Which of the host's experts travel to the device in a step, and in which round (staging.h). How many follows from the
// plan (n_streamed) or from the planner's split_misses.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/device.h"
#include "planner/cost/decode_cost.h"
#include "planner/plan/plan.h"
#include "runtime/experts/staging.h"
#include "runtime/tensors/activations.h"
#include "runtime/tensors/weights.h"

namespace lfm {

/// kAhead: a long step uses every expert, so what travels is known before it begins. kOnDemand: decided layer by layer
/// from the routing, in the first round of each.
enum class StreamMode : std::uint8_t { kNone, kAhead, kOnDemand };

class ExpertStreams {
public:
    struct Inputs {
        const Plan& plan;
        const Weights& weights;
        const ExpertTable& experts;
        Staging& staging;
        const StepRows& rows;
        std::vector<ExpertTimes> times;  // [n_layer], for kOnDemand; empty: nothing travels on demand
    };
    explicit ExpertStreams(Inputs inputs);

    /// Picks the mode, clears the maps; kAhead: fills them. Between steps.
    StreamMode begin_step(const StepParams& params);
    StreamMode mode() const { return mode_; }
    /// Whether a round takes part in this step.
    bool active(std::uint32_t layer, std::uint32_t round) const;

    /// kOnDemand, once the layer's routing has crossed to the host: writes the maps of its first round.
    void decide(std::uint32_t layer);
    /// What must be copied for a round.
    std::span<const CopyRegion> regions(std::uint32_t round) const;
    /// Bytes and experts that travel in the step of the last begin_step.
    Bytes travelled() const;
    std::uint32_t n_travelled() const;
    /// Replaces the times for later decisions. Between steps.
    void set_times(std::vector<ExpertTimes> times);

private:
    void stage(std::uint32_t layer, std::uint32_t round, std::uint32_t expert);
    bool on_demand_pays(std::uint32_t layer) const;
    void find_what_pays();

    Inputs in_;
    std::vector<std::vector<std::uint32_t>> ahead_;  // [n_layer]: experts that travel in a long step, in order
    std::vector<bool> pays_;                         // [n_layer]: on demand
    std::uint32_t longest_on_demand_ = 0;            // tokens
    std::vector<std::vector<CopyRegion>> regions_;   // [n_round]
    std::vector<std::uint32_t> counts_;              // [n_expert]: tokens of the layer being decided
    std::vector<std::uint32_t> cold_;                // experts with tokens that the device does not hold
    StreamMode mode_ = StreamMode::kNone;
    std::uint32_t n_tokens_ = 0;
};

}  // namespace lfm
