#include "runtime/experts/expert_streams.h"

#include <algorithm>
#include <numeric>

namespace lfm {

ExpertStreams::ExpertStreams(Inputs inputs) : in_(std::move(inputs)) {
    const Plan& plan = in_.plan;
    const StagingLayout& layout = in_.staging.layout();
    ahead_.resize(plan.model.n_layer);
    pays_.resize(plan.model.n_layer);
    regions_.resize(layout.n_rounds());
    for (auto& regions : regions_) regions.reserve(3 * std::size_t{layout.n_per_round});
    counts_.resize(plan.model.n_expert);
    cold_.reserve(plan.model.n_expert);
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer) {
        if (layout.n_rounds(layer) == 0) continue;
        const std::size_t most = std::size_t{layout.n_rounds(layer)} * layout.n_per_round;
        const std::size_t n_expert = plan.model.n_expert;
        for (const std::uint32_t expert : plan.by_use[layer])
            if (plan.experts[layer * n_expert + expert] == kHost &&
                ahead_[layer].size() < std::min<std::size_t>(most, plan.n_streamed[layer]))
                ahead_[layer].push_back(expert);
    }
    // Half the batch that the plan's streams were chosen for: below it the host is faster with most experts.
    longest_on_demand_ = plan.sizes.n_batch / 2;
    find_what_pays();
}

void ExpertStreams::find_what_pays() {
    for (std::uint32_t layer = 0; layer < pays_.size(); ++layer)
        pays_[layer] = in_.staging.layout().n_rounds(layer) > 0 && on_demand_pays(layer);
}

void ExpertStreams::set_times(std::vector<ExpertTimes> times) {
    in_.times = std::move(times);
    find_what_pays();
}

std::uint32_t ExpertStreams::n_travelled() const {
    std::size_t n_regions = 0;
    for (const auto& regions : regions_) n_regions += regions.size();
    return static_cast<std::uint32_t>(n_regions / 3);
}

bool ExpertStreams::on_demand_pays(std::uint32_t layer) const {
    if (in_.times.empty()) return false;
    const std::uint32_t k = in_.plan.model.n_expert_used;
    for (std::uint32_t misses = 1; misses <= k; ++misses)
        if (split_misses(in_.times[layer], k - misses, misses).streamed > 0) return true;
    return false;
}

StreamMode ExpertStreams::begin_step(const StepParams& params) {
    StagingLayout& layout = in_.staging.layout();
    n_tokens_ = params.n_tokens;
    if (n_travelled() > 0) std::ranges::fill(layout.anywhere, -1);
    for (std::uint32_t round = 0; round < layout.n_rounds(); ++round) {
        if (regions_[round].empty()) continue;  // its map is clear
        regions_[round].clear();
        std::fill_n(in_.rows.bridge(kHost).slot_of[round], layout.n_expert, -1);
    }
    const auto any = [](const auto& list, const auto& test) { return std::ranges::any_of(list, test); };
    if (n_tokens_ > longest_on_demand_ && any(ahead_, [](const auto& experts) { return !experts.empty(); }))
        mode_ = StreamMode::kAhead;
    else
        mode_ = any(pays_, [](bool pays) { return pays; }) ? StreamMode::kOnDemand : StreamMode::kNone;
    if (mode_ != StreamMode::kAhead) return mode_;
    for (std::uint32_t layer = 0; layer < ahead_.size(); ++layer) {
        std::uint32_t n_staged = 0;
        for (const std::uint32_t expert : ahead_[layer])
            if (in_.experts[{LayerId{layer}, expert}].holder == kHost)
                stage(layer, layout.first_round[layer] + n_staged++ / layout.n_per_round, expert);
    }
    return mode_;
}

bool ExpertStreams::active(std::uint32_t layer, std::uint32_t round) const {
    switch (mode_) {
        case StreamMode::kNone: return false;
        case StreamMode::kAhead: return !regions_[round].empty();
        case StreamMode::kOnDemand: return pays_[layer] && round == in_.staging.layout().first_round[layer];
    }
    return false;
}

void ExpertStreams::decide(std::uint32_t layer) {
    const StagingLayout& layout = in_.staging.layout();
    const std::uint32_t round = layout.first_round[layer];
    if (mode_ != StreamMode::kOnDemand || !active(layer, round)) return;
    const std::uint32_t n_used = in_.plan.model.n_expert_used;
    const ExpertChoice& choice = in_.rows.bridge(kHost).choices[layer - in_.plan.model.n_layer_dense];
    std::ranges::fill(counts_, 0u);
    for (std::uint32_t i = 0; i < n_tokens_ * n_used; ++i) {
        const auto expert = static_cast<std::uint32_t>(choice.ids[i]);
        if (expert < counts_.size()) ++counts_[expert];  // a device that fails may have written another
    }
    cold_.clear();
    std::uint32_t n_hot = 0;
    for (std::uint32_t e = 0; e < counts_.size(); ++e) {
        if (counts_[e] == 0) continue;
        if (in_.experts[{LayerId{layer}, e}].holder == kHost)
            cold_.push_back(e);
        else
            ++n_hot;
    }
    // Not stable_sort, which allocates.
    std::ranges::sort(cold_, [&](std::uint32_t a, std::uint32_t b) {
        return counts_[a] != counts_[b] ? counts_[a] > counts_[b] : a < b;
    });
    const MissSplit split = split_misses(in_.times[layer], n_hot, static_cast<std::uint32_t>(cold_.size()));
    const std::uint32_t n_streamed = std::min(split.streamed, layout.n_per_round);
    for (std::uint32_t i = 0; i < n_streamed; ++i) stage(layer, round, cold_[i]);
}

void ExpertStreams::stage(std::uint32_t layer, std::uint32_t round, std::uint32_t expert) {
    StagingLayout& layout = in_.staging.layout();
    std::vector<CopyRegion>& regions = regions_[round];
    const std::uint32_t slot = layout.slot(round, static_cast<std::uint32_t>(regions.size() / 3));
    const ExpertSizes& sizes = in_.weights.expert_sizes(layer);
    const ExpertSlot from = in_.weights.on_host({LayerId{layer}, expert});
    auto* to = const_cast<std::byte*>(layout.slots) + slot * layout.slot_bytes;
    for (const CopyRegion& region : sizes.copy(to, from)) regions.push_back(region);
    in_.rows.bridge(kHost).slot_of[round][expert] = static_cast<std::int32_t>(slot);
    layout.travelling(layer)[expert] = static_cast<std::int32_t>(slot);
}

std::span<const CopyRegion> ExpertStreams::regions(std::uint32_t round) const { return regions_[round]; }

Bytes ExpertStreams::travelled() const {
    Bytes sum;
    for (const auto& regions : regions_)
        for (const CopyRegion& region : regions) sum += Bytes{region.size};
    return sum;
}

}  // namespace lfm
