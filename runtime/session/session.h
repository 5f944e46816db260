// The public face: one sequence on one model. Tokens in, logits out.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/step/runner.h"

namespace lfm {

/// A session's sequence and what its owner set, for another session that continues it.
struct SessionHistory {
    std::vector<std::int32_t> tokens;
    StepWishes wishes;
};

/// Not thread-safe, but for the stop flag.
class Session {
public:
    /// As Runner's constructor.
    Session(const Model& model, const SessionOptions& options, Ledger& ledger)
        : runner_(model, options, ledger), sequence_(runner_.pool(), options.n_ctx) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Appends tokens to the sequence, in steps of at most n_batch. Returns the last token's logits [n_vocab], valid
    /// until the next call. Throws Error{kContextFull} (nothing appended), Error{kInvalidInput} for a token id out of
    /// range (nothing appended), Error{kInterrupted} (whole steps stay appended), Error{kInvalidModel} when the model's
    /// file was cut or written to while in use: the session is of no use from then on, and keeps throwing it.
    std::span<const float> append(std::span<const std::int32_t> tokens);

    /// Called once per step with the logits of rows [first, first + logits.size() / n_vocab) of the appended tokens.
    using LogitsSink = std::function<void(std::size_t first, std::span<const float> logits)>;
    /// As append, but computes the logits of every token; steps are at most n_outputs long.
    void append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink);

    std::uint32_t position() const { return static_cast<std::uint32_t>(tokens().size()); }
    std::uint32_t n_ctx() const { return runner_.options().n_ctx; }
    std::uint32_t n_vocab() const { return runner_.model().hyper().n_vocab; }
    /// Every token of the sequence so far.
    std::span<const std::int32_t> tokens() const { return sequence_.tokens(); }

    void reset() { sequence_.clear(); }
    /// What the session is beside its model and its options; the session is of no use afterwards.
    SessionHistory take_history() { return {sequence_.take_tokens(), std::move(wishes_)}; }
    /// A new session continues another's sequence, which fits its context. It is computed anew when tokens are appended
    /// next. Checkpoints of the other one may be restored here.
    void continue_from(SessionHistory history) {
        sequence_.assign(history.tokens);
        wishes_ = std::move(history.wishes);
    }

    Checkpoint checkpoint() { return runner_.checkpoint(sequence_, wishes_); }
    /// Forgets everything after the checkpoint, which was taken in this session and since its last reset.
    void restore(const Checkpoint& checkpoint) { runner_.restore(sequence_, checkpoint); }

    /// The flag is read within steps and between them; it outlives the session. Null: never stop.
    void set_stop_flag(const std::atomic<bool>* stop) { wishes_.stop = stop; }
    /// The watcher outlives the session. Null: nobody watches.
    void set_step_watcher(StepWatcher* watcher) { wishes_.watcher = watcher; }
    /// Spent in the watcher's step_ends so far: time in which nothing was computed.
    double paused_seconds() const { return wishes_.paused_seconds; }
    /// Empty: back to the router.
    void force_experts(ExpertSource source) { wishes_.experts = std::move(source); }
    /// Why the device is no longer used; nothing when it is, or never was.
    const std::optional<std::string>& loss() const { return runner_.loss(); }
    const Engine& engine() const { return runner_.engine(); }
    /// For steps of other sequences, beside the session's own.
    Runner& runner() { return runner_; }
    /// The last step's experts of one MoE layer: [n_tokens of that step, n_expert_used].
    std::span<const std::int32_t> last_experts(std::uint32_t moe_layer) const {
        return runner_.last_experts(moe_layer);
    }

private:
    void check(std::span<const std::int32_t> tokens) const;
    template <typename Take>
    void in_steps(std::span<const std::int32_t> tokens, std::size_t most, Outputs outputs, const Take& take);

    Runner runner_;
    Sequence sequence_;
    StepWishes wishes_;
};

}  // namespace lfm
