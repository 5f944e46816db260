#include "runtime/experts/expert_residency.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm {
namespace {

/// A copy that begins after a step runs beside the next one; the step after that finds the expert.
constexpr std::uint32_t kVisibleAfter = 2;
/// The share of a step's time in which the bus may fill slots.
constexpr double kShareOfStep = 0.5;
constexpr std::uint32_t kMostFetches = 64;  // after one step

/// What a hit saves and a fetch costs, by the times of the first layer that has experts.
ExpertCacheOptions cache_options(const ExpertResidency::Inputs& in) {
    ExpertCacheOptions options{.hit_seconds = 1, .fetch_seconds = 0.25, .most_fetches = 1};
    for (const ExpertTimes& times : in.times) {
        if (times.host <= 0) continue;
        options.hit_seconds = std::max(times.host - times.device, 0.0);
        // Beside other work a copy costs the time by which it slows down the host's reading.
        options.fetch_seconds = times.copy * std::max(times.host_while_copying / times.host - 1, 0.05);
        const double step = in.plan.decode_time.total();
        const double copies = times.copy > 0 ? kShareOfStep * step / (times.copy_latency + times.copy) : 0;
        options.most_fetches = static_cast<std::uint32_t>(std::clamp(copies, 1.0, double{kMostFetches}));
        break;
    }
    options.visible_after = kVisibleAfter;
    if (in.adaptation == Adaptation::kOff) options.most_fetches = 0;
    return options;
}

}  // namespace

ExpertResidency::ExpertResidency(const Inputs& inputs)
    : in_(inputs), table_(inputs.weights.experts()), slots_(inputs.plan.model.n_layer) {
    if (in_.device == nullptr) return;
    const ModelSummary& model = in_.plan.model;
    for (std::uint32_t layer = 0; layer < model.n_layer; ++layer) {
        for (std::uint32_t slot = 0; slot < in_.plan.n_slots[layer]; ++slot)
            slots_[layer].add(in_.weights.expert_sizes(layer).slot());
        slots_[layer].allocate(*in_.device, Purpose::kExpertSlots);
    }
    if (model.n_expert == 0 || model.n_layer_dense == model.n_layer) return;
    counts_.resize(model.n_expert);
    uses_.reserve(model.n_expert);
    on_their_way_.reserve(kVisibleAfter * kMostFetches);
    make_cache();
    fill_slots();
}

ExpertResidency::~ExpertResidency() {
    try {
        for (const Fetch& fetch : on_their_way_) in_.device->wait(fetch.copied);
    } catch (const Error&) {
        // A lost device copies no more.
    }
}

/// The plan's order is all that is known of the frequencies: they are taken as equal, but for what keeps that order.
void ExpertResidency::make_cache() {
    const ModelSummary& model = in_.plan.model;
    std::vector<CacheLayer> layers;
    for (std::uint32_t layer = model.n_layer_dense; layer < model.n_layer; ++layer) {
        CacheLayer& cached = layers.emplace_back();
        cached.n_slots = in_.plan.n_slots[layer];
        cached.use.resize(model.n_expert);
        const double even = static_cast<double>(model.n_expert_used) / model.n_expert;
        for (std::uint32_t rank = 0; rank < model.n_expert; ++rank)
            cached.use[in_.plan.by_use[layer][rank]] = even * (1 - 1e-6 * rank);
        for (std::uint32_t e = 0; e < model.n_expert; ++e)
            if (table_[id(layer, e)].holder != kHost) cached.pinned.push_back(static_cast<std::uint16_t>(e));
    }
    cache_.emplace(std::move(layers), cache_options(in_));
}

void ExpertResidency::fill_slots() {
    std::vector<CopyRegion> uploads;
    for (std::uint32_t moe_layer = 0; moe_layer < cache_->n_layer(); ++moe_layer) {
        const std::uint32_t layer = layer_of(moe_layer);
        const std::span<const CacheSlot> slots = cache_->slots(moe_layer);
        for (std::uint32_t slot = 0; slot < slots.size(); ++slot) {
            if (slots[slot].expert < 0) continue;
            const ExpertId expert = id(layer, static_cast<std::uint32_t>(slots[slot].expert));
            const ExpertSizes& sizes = in_.weights.expert_sizes(layer);
            for (const CopyRegion& region : sizes.copy(address(layer, slot), in_.weights.on_host(expert)))
                uploads.push_back(region);
            table_.set(expert, sizes.at(in_.device->id(), address(layer, slot)));
        }
    }
    uploaded_ = upload(*in_.device, uploads, in_.n_threads, {});
}

void ExpertResidency::end_step(const std::vector<ExpertChoice>& choices, std::uint32_t n_tokens) {
    if (!cache_) return;
    for (std::uint32_t moe_layer = 0; moe_layer < choices.size(); ++moe_layer) {
        std::ranges::fill(counts_, 0u);
        const std::int32_t* ids = choices[moe_layer].ids;
        for (std::uint32_t i = 0; i < n_tokens * in_.plan.model.n_expert_used; ++i)
            if (ids[i] >= 0 && static_cast<std::uint32_t>(ids[i]) < counts_.size())
                ++counts_[static_cast<std::uint32_t>(ids[i])];
        uses_.clear();
        for (std::uint32_t e = 0; e < counts_.size(); ++e)
            if (counts_[e] > 0) uses_.push_back({static_cast<std::uint16_t>(e), counts_[e]});
        cache_->add_uses(moe_layer, uses_);
    }
    const ExpertCache::Changes changes = cache_->end_step(n_tokens);
    for (const ExpertFetch& fetch : changes.begun) begin(fetch);
    for (const ExpertFetch& fetch : changes.arrived) finish(fetch);
}

void ExpertResidency::learn_times() {
    const ExpertCacheOptions options = cache_options(in_);
    if (cache_) cache_->set_costs(options.hit_seconds, options.fetch_seconds);
}

void ExpertResidency::begin(const ExpertFetch& fetch) {
    const std::uint32_t layer = layer_of(fetch.moe_layer);
    if (fetch.evicted >= 0) {
        const ExpertId evicted = id(layer, static_cast<std::uint32_t>(fetch.evicted));
        table_.set(evicted, in_.weights.on_host(evicted));
    }
    const ExpertSizes& sizes = in_.weights.expert_sizes(layer);
    const auto regions = sizes.copy(address(layer, fetch.slot), in_.weights.on_host(id(layer, fetch.expert)));
    on_their_way_.push_back({layer, fetch.slot, fetch.expert, in_.device->copy(regions, {})});
    fetched_ += Bytes{sizes.gate + sizes.up + sizes.down};
}

void ExpertResidency::finish(const ExpertFetch& fetch) {
    const std::uint32_t layer = layer_of(fetch.moe_layer);
    const auto at = std::ranges::find_if(on_their_way_, [&](const Fetch& other) {
        return other.layer == layer && other.slot == fetch.slot && other.expert == fetch.expert;
    });
    if (at == on_their_way_.end()) return;
    in_.device->wait(at->copied);
    table_.set(id(layer, fetch.expert),
               in_.weights.expert_sizes(layer).at(in_.device->id(), address(layer, fetch.slot)));
    on_their_way_.erase(at);
}

/// Experts in a layer's slots from `first_slot` on are the host's again.
void ExpertResidency::forget(std::uint32_t layer, std::uint32_t first_slot) {
    const std::span<const CacheSlot> slots = cache_->slots(layer - in_.plan.model.n_layer_dense);
    for (std::uint32_t slot = first_slot; slot < slots.size(); ++slot) {
        if (slots[slot].expert < 0) continue;
        const ExpertId expert = id(layer, static_cast<std::uint32_t>(slots[slot].expert));
        table_.set(expert, in_.weights.on_host(expert));
    }
}

Bytes ExpertResidency::fit_budget() {
    Bytes given_up;
    if (!cache_) return given_up;
    // Devices do not free memory before all their work is done.
    for (const Fetch& fetch : on_their_way_) in_.device->wait(fetch.copied);
    const Bytes before = in_.device->allocated();
    for (std::uint32_t layer = in_.plan.model.n_layer; layer-- > in_.plan.model.n_layer_dense;) {
        if (in_.device->allocated() <= in_.device->budget()) break;
        if (slots_[layer].size() == 0) continue;
        std::erase_if(on_their_way_, [&](const Fetch& fetch) { return fetch.layer == layer; });
        forget(layer, 0);
        cache_->set_slots(layer - in_.plan.model.n_layer_dense, 0);
        slots_[layer] = DeviceArena();
    }
    const Bytes after = in_.device->allocated();
    return {before.value - after.value};
}

}  // namespace lfm
