// Which experts the device's free slots hold: a frequency-weighted LRU as pure arithmetic, without device, thread or
// clock.
//
// After every step the cache decides which experts to fetch, and which expert each one evicts. An expert's worth is the
// uses expected of it soon, S(e) = X(e) + D f(e), and in the long run, f(e): f is its long-run frequency, X what its
// last uses promise beyond that, D the steps that such a promise lasts (use_forecast.h). Where S(e) > S(v), fetching e
// in place of v gains
//
//   G = hit_seconds (S(e) - S(v)) + L - fetch_seconds
//   L = hit_seconds H (f(e) - f(v) - noise)                              where e is the more frequent one
//   L = -min(fetch_seconds, hit_seconds H (f(v) - f(e) - noise))         where v is: it will be fetched again
//
// with H the horizon and `noise` as many standard deviations of f(e) - f(v) as `confidence` says; a difference below
// the noise counts as 0. Of the fetches whose G exceeds `margin` hits, a layer takes the largest S(e) - S(v) first;
// over all layers the largest G go first. So recency counts as far as it pays for the bus, and routing without skew or
// memory fetches next to nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/experts/use_forecast.h"

namespace lfm {

struct ExpertCacheOptions {
    double hit_seconds = 0;           // that a token saves when an expert it uses is on the device
    double fetch_seconds = 0;         // that fetching one costs, where it is not hidden behind other work
    std::uint32_t most_fetches = 0;   // after one step, over all layers; 0: the slots stay as they are
    std::uint32_t visible_after = 1;  // steps; 1: what is fetched after a step is there in the next one
    double horizon = 512;             // H, steps
    double confidence = 3;            // standard deviations
    double margin = 0.05;             // hits
    std::uint32_t window = 128;       // steps that recent_hits() counts
    ForecastOptions forecast;
};

/// What a cache begins with in one MoE layer.
struct CacheLayer {
    std::vector<double> use;            // [n_expert]: chance that a token uses each
    std::vector<std::uint16_t> pinned;  // on the device for good, outside of the slots
    std::uint32_t n_slots = 0;
};

struct CacheSlot {
    std::int32_t expert = -1;       // -1: empty
    std::uint64_t usable_from = 0;  // step
};

struct ExpertFetch {
    std::uint32_t moe_layer = 0;
    std::uint32_t slot = 0;
    std::uint16_t expert = 0;
    std::int32_t evicted = -1;  // -1: the slot was empty
    double gain = 0;            // seconds
};

/// Numbers of uses: an expert counts once for each token that uses it.
struct CacheHits {
    std::uint64_t pinned = 0, cached = 0, missed = 0;

    std::uint64_t total() const { return pinned + cached + missed; }
    double rate() const {
        return total() == 0 ? 0.0 : static_cast<double>(pinned + cached) / static_cast<double>(total());
    }
};

/// The same calls give the same answers. Steps allocate nothing. Not thread-safe.
class ExpertCache {
public:
    /// Slots hold the most frequent experts that are not pinned, usable from step 0. Throws Error{kInvalidInput} for
    /// experts that do not exist or are pinned twice.
    ExpertCache(std::vector<CacheLayer> layers, const ExpertCacheOptions& options);

    /// Number of steps that have ended; the coming one has this number.
    std::uint64_t step() const { return step_; }
    std::uint32_t n_layer() const { return static_cast<std::uint32_t>(layers_.size()); }

    bool is_pinned(std::uint32_t moe_layer, std::uint16_t expert) const { return layers_[moe_layer].pinned[expert]; }
    /// Where the coming step finds it; nothing: not in a slot, or still on its way.
    std::optional<std::uint32_t> slot_of(std::uint32_t moe_layer, std::uint16_t expert) const;
    /// Including those whose expert is still on its way.
    std::span<const CacheSlot> slots(std::uint32_t moe_layer) const { return layers_[moe_layer].slots; }

    /// What the present step's tokens used. Call once per layer and step.
    void add_uses(std::uint32_t moe_layer, std::span<const ExpertUse> uses);
    /// Experts that the next step is likely to use. How far hints are trusted depends on how many came true.
    void hint(std::uint32_t moe_layer, std::span<const std::uint16_t> experts);

    /// What changed between the step that ended and the coming one. Valid until the next call.
    struct Changes {
        std::span<const ExpertFetch> begun;    // the experts they evict are gone at once
        std::span<const ExpertFetch> arrived;  // usable from the coming step on; without `evicted` and `gain`
    };
    Changes end_step(std::uint32_t n_tokens);

    /// Between steps. When there are fewer than before, the slots with the highest numbers go, with what they hold or
    /// are being filled with. Uses are not learnt from while a layer has no slots.
    void set_slots(std::uint32_t moe_layer, std::uint32_t n_slots);
    /// Replaces those pinned so far. An expert that is pinned leaves its slot. Throws as the constructor.
    void set_pinned(std::uint32_t moe_layer, std::span<const std::uint16_t> experts);

    /// Replaces the two values of the options by measured ones.
    void set_costs(double hit_seconds, double fetch_seconds) {
        options_.hit_seconds = hit_seconds;
        options_.fetch_seconds = fetch_seconds;
    }

    CacheHits hits() const { return hits_; }
    /// Over the last `window` steps.
    CacheHits recent_hits() const { return recent_; }
    std::uint64_t n_fetches() const { return n_fetches_; }

private:
    struct Layer {
        UseForecast forecast;
        std::vector<char> pinned;            // [n_expert]
        std::vector<CacheSlot> slots;        // capacity n_expert
        std::vector<std::int32_t> slot_of;   // [n_expert]; -1: none
        std::vector<ExpertUse> uses;         // of the present step; capacity n_expert
        std::vector<char> hinted, promised;  // [n_expert]: hinted for the next step; for the present one
        double n_hinted = 0, n_kept = 0;     // decayed: hints, and those that were used
    };
    struct Worth {
        double soon = 0, long_run = 0;  // S, f
    };
    /// What all experts of a layer have in common after a step.
    struct Outlook {
        UseForecast::Weights resident, fetched;  // from the next step on; from when a fetch is there
        double memory = 0, independent_tokens = 0;
        double hint = 0, hint_resident = 0, hint_fetched = 0;  // share that comes true; uses that follow
    };
    /// Whether its uses are learnt from: without slots, or without fetches into them, no forecast is needed.
    bool follows(const Layer& layer) const { return options_.most_fetches > 0 && !layer.slots.empty(); }
    static Outlook outlook(const Layer& layer, std::uint32_t visible_after);
    static Worth worth(const Layer& layer, const Outlook& outlook, std::size_t expert);
    double gain(const Worth& in, const Worth& out, double independent_tokens) const;
    void propose(std::uint32_t moe_layer);
    std::optional<ExpertFetch> best_fetch(const Layer& layer, const Outlook& outlook) const;
    void begin_best();
    void collect_arrived();
    void require_expert(std::uint32_t moe_layer, std::uint64_t expert) const;

    ExpertCacheOptions options_;
    std::vector<Layer> layers_;
    std::uint64_t step_ = 0;
    std::uint64_t n_fetches_ = 0;
    CacheHits hits_, recent_, present_;
    std::vector<CacheHits> window_;                // [options_.window]
    std::vector<ExpertFetch> proposed_, arrived_;  // room for the most that a step can bring
    std::vector<Worth> worths_;                    // [n_expert]: of the layer being decided
    std::vector<char> expert_taken_, slot_taken_;  // [n_expert]: by earlier proposals for that layer
};

}  // namespace lfm
