#include "runtime/experts/expert_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "memory/error.h"
#include "planner/model/routing.h"

namespace lfm {
namespace {

/// Compares what was promised for the step with what it used, and makes the new hints the promise for the next one.
template <typename Layer>
void judge_hints(Layer& layer) {
    constexpr double kDecay = 0.99;
    double n_hinted = 0, n_kept = 0;
    for (const char promised : layer.promised) n_hinted += promised;
    if (n_hinted > 0) {
        for (const ExpertUse& use : layer.uses) n_kept += layer.promised[use.expert];
        layer.n_hinted = layer.n_hinted * kDecay + n_hinted;
        layer.n_kept = layer.n_kept * kDecay + n_kept;
        std::ranges::fill(layer.promised, 0);
    }
    std::swap(layer.promised, layer.hinted);
}

void add(CacheHits& to, const CacheHits& hits) {
    to.pinned += hits.pinned;
    to.cached += hits.cached;
    to.missed += hits.missed;
}

void subtract(CacheHits& from, const CacheHits& hits) {
    from.pinned -= hits.pinned;
    from.cached -= hits.cached;
    from.missed -= hits.missed;
}

}  // namespace

ExpertCache::ExpertCache(std::vector<CacheLayer> layers, const ExpertCacheOptions& options)
    : options_(options), window_(std::max(options.window, 1u)) {
    options_.visible_after = std::max(options.visible_after, 1u);
    std::size_t most_experts = 0, most_proposed = 0, most_arrived = 0;
    layers_.reserve(layers.size());
    for (std::uint32_t i = 0; i < layers.size(); ++i) {
        const std::size_t n_expert = layers[i].use.size();
        Layer& layer = layers_.emplace_back(Layer{UseForecast(layers[i].use, options.forecast)});
        layer.pinned.resize(n_expert);
        layer.slot_of.assign(n_expert, -1);
        layer.slots.reserve(n_expert);
        layer.uses.reserve(n_expert);
        layer.hinted.resize(n_expert);
        layer.promised.resize(n_expert);
        set_pinned(i, layers[i].pinned);
        set_slots(i, layers[i].n_slots);
        std::uint32_t slot = 0;
        for (const std::uint32_t expert : by_frequency(layers[i].use)) {
            if (slot == layer.slots.size()) break;
            if (layer.pinned[expert]) continue;
            layer.slots[slot].expert = static_cast<std::int32_t>(expert);
            layer.slot_of[expert] = static_cast<std::int32_t>(slot++);
        }
        most_experts = std::max(most_experts, n_expert);
        most_proposed += std::min<std::size_t>(n_expert, options.most_fetches);
        most_arrived += n_expert;
    }
    proposed_.reserve(most_proposed);
    arrived_.reserve(most_arrived);
    worths_.resize(most_experts);
    expert_taken_.resize(most_experts);
    slot_taken_.resize(most_experts);
}

void ExpertCache::require_expert(std::uint32_t moe_layer, std::uint64_t expert) const {
    const std::size_t n_expert = layers_[moe_layer].pinned.size();
    if (expert >= n_expert)
        throw Error(ErrorCode::kInvalidInput, "expert of MoE layer " + std::to_string(moe_layer),
                    "expected 0 to " + std::to_string(n_expert - 1) + ", found " + std::to_string(expert));
}

std::optional<std::uint32_t> ExpertCache::slot_of(std::uint32_t moe_layer, std::uint16_t expert) const {
    const Layer& layer = layers_[moe_layer];
    const std::int32_t slot = layer.slot_of[expert];
    if (slot < 0 || layer.slots[static_cast<std::size_t>(slot)].usable_from > step_) return std::nullopt;
    return static_cast<std::uint32_t>(slot);
}

void ExpertCache::add_uses(std::uint32_t moe_layer, std::span<const ExpertUse> uses) {
    Layer& layer = layers_[moe_layer];
    for (const ExpertUse& use : uses) {
        require_expert(moe_layer, use.expert);
        if (layer.uses.size() == layer.pinned.size())
            throw Error(ErrorCode::kInvalidInput, "uses of MoE layer " + std::to_string(moe_layer),
                        "expected every expert once at most, found more");
        layer.uses.push_back(use);
        if (layer.pinned[use.expert])
            present_.pinned += use.n_tokens;
        else if (slot_of(moe_layer, use.expert))
            present_.cached += use.n_tokens;
        else
            present_.missed += use.n_tokens;
    }
}

void ExpertCache::hint(std::uint32_t moe_layer, std::span<const std::uint16_t> experts) {
    for (const std::uint16_t expert : experts) {
        require_expert(moe_layer, expert);
        layers_[moe_layer].hinted[expert] = 1;
    }
}

ExpertCache::Changes ExpertCache::end_step(std::uint32_t n_tokens) {
    CacheHits& oldest = window_[step_ % window_.size()];
    subtract(recent_, oldest);
    add(recent_, present_);
    add(hits_, present_);
    oldest = std::exchange(present_, {});
    proposed_.clear();
    for (std::uint32_t i = 0; i < layers_.size(); ++i) {
        if (follows(layers_[i])) {
            judge_hints(layers_[i]);
            layers_[i].forecast.add_step(layers_[i].uses, n_tokens);
            if (options_.hit_seconds > 0) propose(i);
        }
        layers_[i].uses.clear();
    }
    begin_best();
    ++step_;
    collect_arrived();
    return {proposed_, arrived_};
}

ExpertCache::Outlook ExpertCache::outlook(const Layer& layer, std::uint32_t visible_after) {
    const UseForecast& forecast = layer.forecast;
    // The prior: two of four hints have come true.
    const double share = (layer.n_kept + 2) / (layer.n_hinted + 4);
    const double resident = 1 + forecast.extra_after_use(1);
    return {.resident = forecast.extra_weights(1),
            .fetched = forecast.extra_weights(visible_after),
            .memory = forecast.memory(),
            .independent_tokens = forecast.independent_tokens(),
            .hint = share,
            .hint_resident = resident,
            .hint_fetched = visible_after == 1 ? resident : forecast.extra_after_use(visible_after - 1)};
}

ExpertCache::Worth ExpertCache::worth(const Layer& layer, const Outlook& outlook, std::size_t expert) {
    const UseForecast& forecast = layer.forecast;
    const bool resident = layer.slot_of[expert] >= 0;
    const double f = forecast.frequency(expert);
    double soon = outlook.memory * f + forecast.extra(expert, resident ? outlook.resident : outlook.fetched);
    if (layer.promised[expert])
        soon += std::max(0.0, outlook.hint - forecast.next(expert)) *
                (resident ? outlook.hint_resident : outlook.hint_fetched);
    return {soon, f};
}

double ExpertCache::gain(const Worth& in, const Worth& out, double independent_tokens) const {
    const double soon = options_.hit_seconds * (in.soon - out.soon);
    // Not even where `in` is the more frequent one: `out` is wanted sooner.
    if (soon <= 0) return 0;
    const double difference = in.long_run - out.long_run;
    const double lasting = options_.hit_seconds * options_.horizon;
    // Rules out most pairs without computing a square root.
    if (soon + lasting * std::max(0.0, difference) <= options_.fetch_seconds) return 0;
    const double variance = in.long_run * (1 - in.long_run) + out.long_run * (1 - out.long_run);
    const double noise = options_.confidence * std::sqrt(std::max(0.0, variance) / independent_tokens);
    const double sure = lasting * std::max(0.0, std::abs(difference) - noise);
    const double later = difference >= 0 ? sure : -std::min(options_.fetch_seconds, sure);
    return soon + later - options_.fetch_seconds;
}

void ExpertCache::propose(std::uint32_t moe_layer) {
    const Layer& layer = layers_[moe_layer];
    const std::size_t n_expert = layer.pinned.size();
    const Outlook view = outlook(layer, options_.visible_after);
    for (std::size_t e = 0; e < n_expert; ++e) worths_[e] = worth(layer, view, e);
    // Those pinned, and those in a slot, are no candidates.
    for (std::size_t e = 0; e < n_expert; ++e) expert_taken_[e] = layer.pinned[e] || layer.slot_of[e] >= 0;
    // A slot keeps an expert that has not yet been usable in a step.
    for (std::size_t s = 0; s < layer.slots.size(); ++s) slot_taken_[s] = layer.slots[s].usable_from > step_;
    const std::size_t most = std::min<std::size_t>(options_.most_fetches, layer.slots.size());
    for (std::size_t i = 0; i < most; ++i) {
        const auto fetch = best_fetch(layer, view);
        if (!fetch) break;
        expert_taken_[fetch->expert] = slot_taken_[fetch->slot] = 1;
        proposed_.push_back(*fetch);
        proposed_.back().moe_layer = moe_layer;
    }
}

/// Of all fetches that pay, the one with the largest S(e) - S(v): others can come later. It evicts the expert that is
/// worth least soon, or least in the long run; an empty slot comes before both.
std::optional<ExpertFetch> ExpertCache::best_fetch(const Layer& layer, const Outlook& view) const {
    const auto worth_of = [&](std::size_t slot) {
        const std::int32_t expert = layer.slots[slot].expert;
        return expert < 0 ? Worth{-std::numeric_limits<double>::infinity(), -1.0}
                          : worths_[static_cast<std::size_t>(expert)];
    };
    std::optional<std::size_t> soon, long_run;
    for (std::size_t s = 0; s < layer.slots.size(); ++s) {
        if (slot_taken_[s]) continue;
        if (!soon || worth_of(s).soon < worth_of(*soon).soon) soon = s;
        if (!long_run || worth_of(s).long_run < worth_of(*long_run).long_run) long_run = s;
    }
    if (!soon) return std::nullopt;
    std::optional<ExpertFetch> best;
    double best_difference = 0;
    for (const std::size_t slot : {*soon, *long_run}) {
        const std::int32_t evicted = layer.slots[slot].expert;
        const Worth out = evicted < 0 ? Worth{} : worth_of(slot);
        for (std::size_t e = 0; e < layer.pinned.size(); ++e) {
            const double difference = worths_[e].soon - out.soon;
            if (expert_taken_[e] || difference <= best_difference) continue;
            const double seconds = gain(worths_[e], out, view.independent_tokens);
            if (seconds <= options_.margin * options_.hit_seconds) continue;
            best_difference = difference;
            best = {0, static_cast<std::uint32_t>(slot), static_cast<std::uint16_t>(e), evicted, seconds};
        }
        if (soon == long_run) break;
    }
    return best;
}

void ExpertCache::begin_best() {
    std::ranges::sort(proposed_, [](const ExpertFetch& a, const ExpertFetch& b) {
        return std::tuple(-a.gain, a.moe_layer, a.slot) < std::tuple(-b.gain, b.moe_layer, b.slot);
    });
    if (proposed_.size() > options_.most_fetches) proposed_.resize(options_.most_fetches);
    for (const ExpertFetch& fetch : proposed_) {
        Layer& layer = layers_[fetch.moe_layer];
        if (fetch.evicted >= 0) layer.slot_of[static_cast<std::size_t>(fetch.evicted)] = -1;
        layer.slots[fetch.slot] = {fetch.expert, step_ + options_.visible_after};
        layer.slot_of[fetch.expert] = static_cast<std::int32_t>(fetch.slot);
    }
    n_fetches_ += proposed_.size();
}

void ExpertCache::collect_arrived() {
    arrived_.clear();
    for (std::uint32_t i = 0; i < layers_.size(); ++i)
        for (std::uint32_t s = 0; s < layers_[i].slots.size(); ++s) {
            const CacheSlot& slot = layers_[i].slots[s];
            if (slot.expert >= 0 && slot.usable_from == step_)
                arrived_.push_back({.moe_layer = i, .slot = s, .expert = static_cast<std::uint16_t>(slot.expert)});
        }
}

void ExpertCache::set_slots(std::uint32_t moe_layer, std::uint32_t n_slots) {
    Layer& layer = layers_[moe_layer];
    const std::size_t size = std::min<std::size_t>(n_slots, layer.pinned.size());  // more could not be filled
    for (std::size_t s = size; s < layer.slots.size(); ++s)
        if (layer.slots[s].expert >= 0) layer.slot_of[static_cast<std::size_t>(layer.slots[s].expert)] = -1;
    layer.slots.resize(size);
}

void ExpertCache::set_pinned(std::uint32_t moe_layer, std::span<const std::uint16_t> experts) {
    for (std::size_t i = 0; i < experts.size(); ++i) {
        require_expert(moe_layer, experts[i]);
        if (std::ranges::find(experts.first(i), experts[i]) != experts.first(i).end())
            throw Error(ErrorCode::kInvalidInput, "pinned experts of MoE layer " + std::to_string(moe_layer),
                        "expected different ones, found " + std::to_string(experts[i]) + " twice");
    }
    Layer& layer = layers_[moe_layer];
    std::ranges::fill(layer.pinned, 0);
    for (const std::uint16_t expert : experts) {
        layer.pinned[expert] = 1;
        const std::int32_t slot = std::exchange(layer.slot_of[expert], -1);
        if (slot >= 0) layer.slots[static_cast<std::size_t>(slot)] = {};
    }
}

}  // namespace lfm
