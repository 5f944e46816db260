// Which experts are on the device at this moment: the plan's pinned ones, and those in the slots of the cache. The
// cache's policy decides (expert_cache.h); here its decisions are carried out, between steps.
#pragma once

#include <optional>
#include <vector>

#include "memory/expert_table.h"
#include "planner/cost/decode_cost.h"
#include "planner/plan/plan.h"
#include "runtime/experts/expert_cache.h"
#include "runtime/tensors/activations.h"
#include "runtime/tensors/device_arena.h"
#include "runtime/tensors/upload.h"
#include "runtime/tensors/weights.h"

namespace lfm {

enum class Adaptation : std::uint8_t { kOn, kOff };

class ExpertResidency {
public:
    struct Inputs {
        const Plan& plan;
        const Weights& weights;
        Device* device;                           // null: everything is on the host
        const std::vector<ExpertTimes>& times;    // [n_layer]; empty: fixed costs are assumed
        Adaptation adaptation = Adaptation::kOn;  // kOff: the slots keep what they begin with
        std::uint32_t n_threads = 1;              // that fill the slots
    };
    /// Takes the slots' memory and fills them with the most frequent experts that are not pinned. Throws
    /// Error{kShortfall}.
    explicit ExpertResidency(const Inputs& inputs);
    /// Waits for copies that are still on their way into the slots.
    ~ExpertResidency();
    ExpertResidency(const ExpertResidency&) = delete;
    ExpertResidency& operator=(const ExpertResidency&) = delete;

    /// Where each expert is. Changes in end_step and fit_budget only.
    const ExpertTable& table() const { return table_; }

    /// After a step, while the device is idle: counts hits, drops what the cache evicts, starts the copies of what
    /// it fetches. What was fetched is used from a fixed number of steps later on, so that the same text gives the same
    /// steps; waits for copies that are late. `choices` [n_moe_layer]: of the step, as the host sees them.
    void end_step(const std::vector<ExpertChoice>& choices, std::uint32_t n_tokens);

    /// Computes the costs of hits and fetches again, after Inputs::times have changed.
    void learn_times();

    /// Between steps: gives up slots, the last layers' first, until what is allocated is within the device's present
    /// budget. Returns how much was given up.
    Bytes fit_budget();

    CacheHits hits() const { return cache_ ? cache_->hits() : CacheHits{}; }
    CacheHits recent_hits() const { return cache_ ? cache_->recent_hits() : CacheHits{}; }
    /// How much end_step has copied into slots so far.
    Bytes fetched() const { return fetched_; }
    /// What the constructor copied into the slots.
    const Uploaded& uploaded() const { return uploaded_; }

private:
    struct Fetch {
        std::uint32_t layer = 0;
        std::uint32_t slot = 0;
        std::uint16_t expert = 0;
        Point copied;
    };
    void make_cache();
    void fill_slots();
    std::byte* address(std::uint32_t layer, std::uint32_t slot) const { return slots_[layer].address(slot); }
    void begin(const ExpertFetch& fetch);
    void finish(const ExpertFetch& fetch);
    void forget(std::uint32_t layer, std::uint32_t first_slot);
    ExpertId id(std::uint32_t layer, std::uint32_t expert) const { return {LayerId{layer}, expert}; }
    std::uint32_t layer_of(std::uint32_t moe_layer) const { return in_.plan.model.n_layer_dense + moe_layer; }

    Inputs in_;
    ExpertTable table_;
    std::vector<DeviceArena> slots_;  // [n_layer]
    std::optional<ExpertCache> cache_;
    std::vector<Fetch> on_their_way_;
    std::vector<std::uint32_t> counts_;  // [n_expert]
    std::vector<ExpertUse> uses_;
    Bytes fetched_;
    Uploaded uploaded_;
};

}  // namespace lfm
