#include "backends/device/step_image.h"

#include <cstring>
#include <span>

#include "backends/needs/kv_pages.h"

namespace lfm {

void StepNeeds::include(const Operation& operation) {
    if (const auto* rope = std::get_if<QkNormRopeArgs>(&operation)) head_dim = std::max(head_dim, rope->head_dim);
    if (const auto* route = std::get_if<RouteArgs>(&operation)) {
        n_moe_layer = std::max(n_moe_layer, route->moe_layer + 1);
        n_expert_used = std::max(n_expert_used, route->n_expert_used);
    }
}

namespace {

/// Puts arrays one after another.
class Packer {
public:
    Packer(std::byte* to, std::uint64_t address, std::size_t at, std::size_t alignment)
        : to_(to), address_(address), at_(at), alignment_(alignment) {}

    /// The place of n values; `where` becomes their address.
    template <typename T>
    std::span<T> place(std::size_t n, std::uint64_t& where) {
        auto* const values = reinterpret_cast<T*>(to_ + at_);
        where = address_ + at_;
        at_ += (n * sizeof(T) + alignment_ - 1) / alignment_ * alignment_;
        return {values, n};
    }
    /// Copies n values there, if there are any.
    template <typename T>
    void copy(const T* from, std::size_t n, std::uint64_t& where) {
        const std::span<T> there = place<T>(from != nullptr ? n : 0, where);
        if (!there.empty()) std::memcpy(there.data(), from, there.size_bytes());
    }
    std::size_t end() const { return at_; }

private:
    std::byte* to_;
    std::uint64_t address_;
    std::size_t at_, alignment_;
};

bool moves_window(const StepSequence& sequence) {
    return sequence.window_from != WindowFrom::kRing || sequence.save_to != StepSequence::kNowhere;
}

}  // namespace

StepImage::StepImage(const BackendLimits& limits, const StepNeeds& needs, std::size_t gap)
    : limits_(limits), needs_(needs), gap_(gap) {
    const std::size_t n = limits.n_batch, n_pages = std::size_t{limits.n_sequences} * n_kv_pages(limits.n_ctx);
    size_ = gap_at() + align(gap);
    for (int i = 0; i < 4; ++i) size_ += align(n * sizeof(std::uint32_t));  // tokens, outputs, kv_rows, row_sequences
    size_ += align(limits.n_sequences * sizeof(PageCopy));
    size_ += align(n_pages * sizeof(std::uint32_t)) + limits.n_sequences * align(1);  // each sequence's aligned
    size_ += align(n * needs.head_dim * sizeof(float));
    size_ += align(std::size_t{needs.n_moe_layer} * n * needs.n_expert_used * sizeof(std::int32_t));
}

StepImage::Filled StepImage::fill(std::byte* to, std::uint64_t address, const StepParams& step) const {
    check_step(step, limits_, "step");
    const std::size_t n = step.n_tokens, n_sequences = step.n_sequences();
    StepHeader header{.n_tokens = step.n_tokens,
                      .n_outputs = step.n_outputs,
                      .has_forced = step.forced_experts != nullptr ? 1u : 0u,
                      .n_sequences = static_cast<std::uint32_t>(n_sequences),
                      .n_page_copies = static_cast<std::uint32_t>(step.page_copies.size())};
    Packer packer(to, address, gap_at() + align(gap_), align(1));
    packer.copy(step.token_ids, n, header.token_ids);
    const auto output_rows = packer.place<std::uint32_t>(step.n_outputs, header.output_rows);
    for (std::uint32_t i = 0; i < step.n_outputs; ++i) output_rows[i] = step.output_row(i);
    packer.copy(step.page_copies.data(), step.page_copies.size(), header.page_copies);
    const auto kv_rows = packer.place<std::uint32_t>(n, header.kv_rows);
    const auto row_sequences = packer.place<std::uint32_t>(n, header.row_sequences);
    for (std::size_t i = 0; i < n_sequences; ++i) header.n_singles += step.sequence(i).n_rows == 1 ? 1 : 0;

    std::uint32_t next_single = 0, next_other = header.n_singles;
    for (std::size_t i = 0; i < n_sequences; ++i) {
        const StepSequence sequence = step.sequence(i);
        const std::uint32_t place = sequence.n_rows == 1 ? next_single++ : next_other++;
        StepSequenceRows rows{.first_row = sequence.first_row,
                              .n_rows = sequence.n_rows,
                              .position = sequence.position,
                              .ring = sequence.ring,
                              .window = sequence.window,
                              .window_from = static_cast<std::uint32_t>(sequence.window_from),
                              .saved = sequence.saved,
                              .save_to = sequence.save_to};
        const std::uint32_t* const pages = limits_.n_ctx > 0 ? sequence.pages : nullptr;
        if (pages != nullptr) packer.copy(pages, n_kv_pages(sequence.position + sequence.n_rows), rows.pages);
        std::memcpy(to + sizeof header + place * sizeof rows, &rows, sizeof rows);
        header.moves_windows |= moves_window(sequence) ? 1 : 0;
        for (std::uint32_t t = 0; t < sequence.n_rows; ++t) {
            const std::uint32_t row = sequence.first_row + t;
            row_sequences[row] = place;
            kv_rows[row] = t < sequence.n_replayed ? StepSequence::kNowhere : kv_row(pages, sequence.position + t);
        }
    }
    packer.copy(step.rope, n * needs_.head_dim, header.rope);
    packer.copy(step.forced_experts, std::size_t{needs_.n_moe_layer} * n * needs_.n_expert_used, header.forced_experts);
    std::memcpy(to, &header, sizeof header);
    return {header, packer.end()};
}

std::uint32_t groups_in(const Axis& axis, const StepHeader& step) {
    if (!axis.count) return axis.groups;
    const std::uint32_t n_prompts = step.n_tokens > 0 ? step.n_sequences - step.n_singles : 0;
    switch (*axis.count) {
        case StepCount::kTokens: return groups_of(step.n_tokens, axis.per_group) * axis.groups;
        case StepCount::kOutputs: return groups_of(step.n_outputs, axis.per_group) * axis.groups;
        case StepCount::kSingles: return groups_of(step.n_singles, axis.per_group) * axis.groups;
        case StepCount::kPageCopies: return groups_of(step.n_page_copies, axis.per_group) * axis.groups;
        // With k sequences of at least one row: the sum of ceil(n / p) is at most (sum of n - k) / p + k.
        case StepCount::kPromptRows:
            return ((step.n_tokens - step.n_singles - n_prompts) / axis.per_group + n_prompts) * axis.groups;
    }
    return 0;
}

std::uint64_t most_groups(const Axis& axis, const BackendLimits& limits) {
    if (!axis.count) return axis.groups;
    std::uint64_t n = groups_of(limits.n_batch, axis.per_group);
    if (*axis.count == StepCount::kSingles || *axis.count == StepCount::kPageCopies)
        n = groups_of(limits.n_sequences, axis.per_group);
    if (*axis.count == StepCount::kPromptRows) n += limits.n_sequences;
    return n * axis.groups;
}

}  // namespace lfm
