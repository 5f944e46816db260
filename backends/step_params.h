// What changes from step to step: rows of tokens, which sequences they belong to, which of them get logits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "memory/error.h"

namespace lfm {

/// Where the windows of a sequence's convolutions stand before a step.
enum class WindowFrom : std::uint8_t {
    kRing,   // in its ring
    kSaved,  // saved by an earlier step, at StepSequence::saved
    kZeros,  // nowhere: zeros. What n_replayed rows give is right all the same, when they are enough
};

/// One sequence's part of a step: tokens that follow those it has. Rows of a layer's conv state are counted over all
/// rings and saved windows of the layer (ShortConvArgs::ring).
struct StepSequence {
    static constexpr std::uint32_t kNowhere = ~0u;

    std::uint32_t first_row = 0, n_rows = 0;  // of the step's
    std::uint32_t position = 0;               // in the sequence, of the token in its first row
    std::uint32_t n_replayed = 0;             // of its rows, the first ones: their keys and values are there, and stay
    const std::uint32_t* pages = nullptr;     // that hold keys and values up to its last row: needs/kv_pages.h
    std::uint32_t ring = 0;                   // first row of its ring
    std::uint32_t window = 0;                 // slot of the ring (needs/conv_ring.h) where the window begins
    WindowFrom window_from = WindowFrom::kRing;
    std::uint32_t saved = 0;           // kSaved: the first of the window's rows, oldest first
    std::uint32_t save_to = kNowhere;  // where to save the window behind its last row
};

/// A page of keys and values that a sequence goes on in shares its beginning with another's: the first rows are copied
/// in all layers before the step writes.
struct PageCopy {
    std::uint32_t from = 0, to = 0;
    std::uint32_t n_tokens = 0;
};

/// Written by the session between steps, read by the device.
struct StepParams {
    std::uint32_t n_tokens = 0;  // n: rows of this step, at most the session's batch
    /// Side by side, all n rows. None: one that begins.
    std::span<const StepSequence> sequences;
    std::span<const PageCopy> page_copies;
    std::uint32_t n_outputs = 0;                 // how many rows get logits
    const std::uint32_t* output_rows = nullptr;  // [n_outputs]: which ones. Null: the last
    const std::int32_t* token_ids = nullptr;     // [n]
    const float* rope = nullptr;                 // [n, head_dim]: cosines, then sines, of each token's position
    const std::int32_t* forced_experts =
        nullptr;  // [n_moe_layer, n, n_expert_used]: instead of the router's choice, or null

    StepSequence only_sequence() const {
        return sequences.empty() ? StepSequence{.n_rows = n_tokens} : sequences.front();
    }
    std::size_t n_sequences() const { return sequences.empty() ? 1 : sequences.size(); }
    StepSequence sequence(std::size_t i) const { return sequences.empty() ? only_sequence() : sequences[i]; }
    /// The sequence that a row belongs to.
    StepSequence sequence_of(std::uint32_t row) const {
        if (sequences.size() <= 1) return only_sequence();
        return *std::prev(std::ranges::upper_bound(sequences, row, {}, &StepSequence::first_row));
    }
    std::uint32_t position() const { return only_sequence().position; }
    std::uint32_t output_row(std::uint32_t output) const {
        return output_rows != nullptr ? output_rows[output] : n_tokens - n_outputs + output;
    }
};

/// What a backend must know before it records: the largest step.
struct BackendLimits {
    std::uint32_t n_batch = 0;
    std::uint32_t n_ctx = 0;  // of a sequence. 0: no operation has a cache
    std::uint32_t n_sequences = 1;
};

/// Throws Error{kUsage} for a step beyond the limits, or with rows that it does not have or that are nobody's.
inline void check_step(const StepParams& step, const BackendLimits& limits, std::string_view where) {
    const auto at_most = [&](const char* what, std::uint64_t found, std::uint64_t most) {
        if (found > most)
            throw Error(ErrorCode::kUsage, where,
                        "expected at most " + std::to_string(most) + " " + what + ", found " + std::to_string(found));
    };
    at_most("tokens in a step", step.n_tokens, limits.n_batch);
    at_most("outputs of a step", step.n_outputs, step.n_tokens);
    at_most("sequences in a step", step.sequences.size(), limits.n_sequences);
    at_most("page copies of a step", step.page_copies.size(), limits.n_sequences);
    std::uint64_t row = 0;
    for (std::size_t i = 0; i < step.n_sequences(); ++i) {
        const StepSequence sequence = step.sequence(i);
        if (sequence.first_row != row || (sequence.n_rows == 0 && step.n_tokens > 0))
            throw Error(ErrorCode::kUsage, where,
                        "expected a sequence of rows from row " + std::to_string(row) + ", found " +
                            std::to_string(sequence.n_rows) + " from row " + std::to_string(sequence.first_row));
        row += sequence.n_rows;
        at_most("rows done again", sequence.n_replayed, sequence.n_rows);
        if (limits.n_ctx > 0)
            at_most("tokens in the context", std::uint64_t{sequence.position} + sequence.n_rows, limits.n_ctx);
    }
    if (row != step.n_tokens)
        throw Error(
            ErrorCode::kUsage, where,
            "expected sequences of all " + std::to_string(step.n_tokens) + " rows, found " + std::to_string(row));
    for (std::uint32_t i = 0; i < step.n_outputs; ++i)
        at_most("as the row of an output", std::uint64_t{step.output_row(i)} + 1, step.n_tokens);
}

}  // namespace lfm
