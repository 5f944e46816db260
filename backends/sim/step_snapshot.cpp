#include "backends/sim/step_snapshot.h"

#include <algorithm>
#include <utility>

#include "backends/needs/kv_pages.h"

namespace lfm::sim {
namespace {

void grow(HostBuffer& buffer, std::size_t size, Ledger& ledger) {
    if (size > buffer.bytes().size()) buffer = HostBuffer(ledger, Purpose::kScratch, size);
}

/// The copy in `to`; null stays null.
template <typename T>
const T* copy_of(const T* from, std::size_t n, const HostBuffer& to) {
    if (from == nullptr || n == 0) return nullptr;
    std::copy_n(from, n, to.as<T>().data());
    return to.as<T>().data();
}

}  // namespace

void StepSnapshot::reserve(std::span<const Operation> operations, Ledger& ledger) {
    for (const Operation& operation : operations) {
        if (const auto* rope = std::get_if<QkNormRopeArgs>(&operation))
            rope_width_ = std::max<std::size_t>(rope_width_, rope->head_dim);
        if (const auto* route = std::get_if<RouteArgs>(&operation))
            n_choices_ = std::max(n_choices_, (std::size_t{route->moe_layer} + 1) * route->n_expert_used);
    }
    sequences_.resize(limits_.n_sequences);
    page_copies_.resize(limits_.n_sequences);
    pages_.resize(std::size_t{limits_.n_sequences} * n_kv_pages(limits_.n_ctx));
    grow(token_ids_, limits_.n_batch * sizeof(std::int32_t), ledger);
    grow(output_rows_, limits_.n_batch * sizeof(std::uint32_t), ledger);
    grow(rope_, limits_.n_batch * rope_width_ * sizeof(float), ledger);
    grow(forced_experts_, limits_.n_batch * n_choices_ * sizeof(std::int32_t), ledger);
}

void StepSnapshot::take(std::string_view where) {
    check_step(*source_, limits_, where);
    const std::size_t n = source_->n_tokens;
    params_ = *source_;
    std::ranges::copy(source_->sequences, sequences_.begin());
    params_.sequences = std::span(sequences_).first(source_->sequences.size());
    std::uint32_t* pages = pages_.data();
    for (StepSequence& sequence : std::span(sequences_).first(source_->sequences.size()))
        if (sequence.pages != nullptr)
            pages = std::copy_n(std::exchange(sequence.pages, pages), n_kv_pages(sequence.position + sequence.n_rows),
                                pages);
    std::ranges::copy(source_->page_copies, page_copies_.begin());
    params_.page_copies = std::span(page_copies_).first(source_->page_copies.size());
    params_.output_rows = copy_of(source_->output_rows, source_->n_outputs, output_rows_);
    params_.token_ids = copy_of(source_->token_ids, n, token_ids_);
    params_.rope = copy_of(source_->rope, n * rope_width_, rope_);
    params_.forced_experts = copy_of(source_->forced_experts, n * n_choices_, forced_experts_);
}

}  // namespace lfm::sim
