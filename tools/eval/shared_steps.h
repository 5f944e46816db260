// The logits of one sequence whose steps others share: random sequences beside it, its own beginning from the prefix
// cache, a fork of itself. They must be those that it has alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "runtime/state/prompt_store.h"
#include "runtime/step/runner.h"
#include "tools/common/command_line.h"

namespace lfm::tools {

struct SharedSteps {
    std::uint32_t n_beside = 0;         // random sequences, each with rows in every step
    std::optional<std::uint32_t> cut;   // token from which the sequence runs again, with what the cache has before it
    std::optional<std::uint32_t> fork;  // token from which another sequence goes on in the same pages
    std::optional<std::string> disk;    // folder by whose files what is before the cut comes back
    std::uint64_t seed = 1;

    /// Of ours, the others, and one that holds the pages of a first run or of a fork.
    std::uint32_t n_sequences() const { return 1 + n_beside + (cut || fork ? 1 : 0); }
};

/// --beside, --cut, --fork, --disk, --seed.
po::options_description shared_steps_options();

/// Nothing when none of the options is given. Throws Error{kUsage} for values out of range, and for options that do
/// not go together.
std::optional<SharedSteps> find_shared_steps(const po::variables_map& values, std::uint32_t n_tokens);

/// Sets n_ctx, n_batch, n_outputs, n_sequences and n_saved for a sequence of n_tokens; n_batch is first what the user
/// allows. Throws Error{kUsage} when that has no row for each sequence.
void make_room(const SharedSteps& shared, std::uint32_t n_tokens, SessionOptions& options);

/// What a step has computed of the sequence.
struct OwnRows {
    std::span<const float> logits;  // [n, n_vocab] of its next n tokens; may be empty
    std::uint32_t first_row = 0;    // of the step's, where these are
    std::uint32_t n_step_rows = 0;  // of all sequences
};

/// Runs the tokens in a runner that has the room; `store` is null without --disk. Pieces of ours and of the others, 1
/// row to the batch, are drawn from the seed. Calls the sink after every step; its rows come in the order of the
/// tokens, each once. `experts`, of our tokens' positions, may be empty; with it the others' rows use random experts.
/// Throws Error{kInvalidInput} for a token id out of range, and what Runner::run throws.
void run_shared_steps(const SharedSteps& shared, Runner& runner, std::span<const std::int32_t> tokens,
                      const ExpertSource& experts, PromptStore* store, const std::function<void(const OwnRows&)>& sink);

}  // namespace lfm::tools
