// What changes from step to step: rows of tokens, which sequences they belong to, which of them get logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "memory/error.h"

namespace lfm {

/// One sequence's part of a step: tokens that follow those it has.
struct StepSequence {
    std::uint32_t first_row = 0, n_rows = 0;  // of the step's
    std::uint32_t position = 0;               // in the sequence, of the token in its first row
    std::uint32_t window = 0;  // slot of its convolutions' rings (needs/conv_ring.h) where the window begins
};

/// Written by the session between steps, read by the device.
struct StepParams {
    std::uint32_t n_tokens = 0;  // n: rows of this step, at most the session's batch
    /// Side by side, all n rows. Kernels know one sequence. None: as one that begins.
    std::span<const StepSequence> sequences;
    std::uint32_t n_outputs = 0;                 // how many rows get logits
    const std::uint32_t* output_rows = nullptr;  // [n_outputs]: which ones. Null: the last
    const std::int32_t* token_ids = nullptr;     // [n]
    const float* rope = nullptr;                 // [n, head_dim]: cosines, then sines, of each token's position
    const std::int32_t* forced_experts =
        nullptr;  // [n_moe_layer, n, n_expert_used]: instead of the router's choice, or null

    StepSequence only_sequence() const {
        return sequences.empty() ? StepSequence{.n_rows = n_tokens} : sequences.front();
    }
    std::uint32_t position() const { return only_sequence().position; }
    std::uint32_t output_row(std::uint32_t output) const {
        return output_rows != nullptr ? output_rows[output] : n_tokens - n_outputs + output;
    }
};

/// What a backend must know before it records: the largest step.
struct BackendLimits {
    std::uint32_t n_batch = 0;
    std::uint32_t n_ctx = 0;  // 0: no operation has a cache
};

/// Throws Error{kUsage} for a step beyond the limits, of several sequences, or with rows that it does not have.
inline void check_step(const StepParams& step, const BackendLimits& limits, std::string_view where) {
    const auto at_most = [&](const char* what, std::uint64_t found, std::uint64_t most) {
        if (found > most)
            throw Error(ErrorCode::kUsage, where,
                        "expected at most " + std::to_string(most) + " " + what + ", found " + std::to_string(found));
    };
    const StepSequence sequence = step.only_sequence();
    at_most("tokens in a step", step.n_tokens, limits.n_batch);
    at_most("outputs of a step", step.n_outputs, step.n_tokens);
    at_most("sequences in a step", step.sequences.size(), 1);
    if (sequence.first_row != 0 || sequence.n_rows != step.n_tokens)
        throw Error(ErrorCode::kUsage, where,
                    "expected a sequence of all " + std::to_string(step.n_tokens) + " rows, found " +
                        std::to_string(sequence.n_rows) + " from row " + std::to_string(sequence.first_row));
    for (std::uint32_t i = 0; i < step.n_outputs; ++i)
        at_most("as the row of an output", std::uint64_t{step.output_row(i)} + 1, step.n_tokens);
    if (limits.n_ctx > 0)
        at_most("tokens in the context", std::uint64_t{sequence.position} + step.n_tokens, limits.n_ctx);
}

}  // namespace lfm
