// The public face: one sequence on one model. Tokens in, logits out.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "memory/ledger.h"
#include "runtime/activations.h"
#include "runtime/executor.h"
#include "runtime/expert_residency.h"
#include "runtime/model.h"
#include "runtime/sequence_state.h"
#include "runtime/staging.h"

namespace lfm {

/// kSkip: the host computes nothing, for studies of time on simulated devices.
enum class Arithmetic : std::uint8_t { kRun, kSkip };

struct SessionOptions {
    std::uint32_t n_ctx = 0;      // most tokens of the sequence
    std::uint32_t n_batch = 512;  // most tokens of one step
    std::uint32_t n_outputs = 1;  // most rows of logits kept from one step
    std::uint32_t n_threads = 1;
    KvTypes kv;
    const cpu::Kernels* kernels = nullptr;  // null: the fastest here
    /// [n_layer], of the machine profile: decides which missing experts travel in decode. Empty: none does.
    std::vector<ExpertTimes> expert_times;
    /// See DeviceSide. For simulated devices.
    std::function<double(std::span<const Operation>, const StepParams&)> host_seconds;
    Arithmetic host_arithmetic = Arithmetic::kRun;
};

/// Which expert (moe_layer, position, choice) uses, instead of the router's choice.
using ExpertSource = std::function<std::int32_t(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice)>;

/// Not thread-safe, but for the stop flag.
class Session {
public:
    /// Allocates everything the session will ever need, also on the model's device. `model` and `ledger` outlive it.
    /// Throws Error{kShortfall} when memory is refused, Error{kUsage} for options out of range, what the device throws.
    Session(const Model& model, const SessionOptions& options, Ledger& ledger);

    /// Appends tokens to the sequence, in steps of at most n_batch. Returns the last token's logits [n_vocab], valid
    /// until the next call. Throws Error{kContextFull} (nothing appended), Error{kInvalidInput} for a token id out of
    /// range (nothing appended), Error{kInterrupted} (whole steps stay appended).
    std::span<const float> append(std::span<const std::int32_t> tokens);

    /// Called once per step with the logits of rows [first, first + logits.size() / n_vocab) of the appended tokens.
    using LogitsSink = std::function<void(std::size_t first, std::span<const float> logits)>;
    /// As append, but computes the logits of every token; steps are at most n_outputs long.
    void append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink);

    std::uint32_t position() const { return state_.position(); }
    std::uint32_t n_ctx() const { return state_.n_ctx(); }
    std::uint32_t n_vocab() const { return model_.hyper().n_vocab; }
    /// Every token of the sequence so far.
    std::span<const std::int32_t> tokens() const { return tokens_; }

    void reset();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Checkpoint checkpoint() const { return state_.checkpoint(); }
    /// Forgets everything after the checkpoint, which was taken in this session and since its last reset.
    void restore(const Checkpoint& checkpoint);

    /// The flag is read between segments of long steps, and between steps; it outlives the session. Null: never stop.
    void set_stop_flag(const std::atomic<bool>* stop) { stop_ = stop; }
    /// Empty: back to the router.
    void force_experts(ExpertSource source) { expert_source_ = std::move(source); }
    /// The last step's experts of one MoE layer: [n_tokens of that step, n_expert_used].
    std::span<const std::int32_t> last_experts(std::uint32_t moe_layer) const;

private:
    void make_executor();
    enum class Outputs { kLast, kAll };
    void check(std::span<const std::int32_t> tokens) const;
    void step(std::span<const std::int32_t> tokens, Outputs outputs);
    void write_params(std::span<const std::int32_t> tokens, Outputs outputs);

    const Model& model_;
    SessionOptions options_;
    SequenceState state_;
    ExpertResidency residency_;
    Staging staging_;
    StepRows rows_;
    HostBuffer params_buffer_;
    std::int32_t* token_ids_ = nullptr;  // [n_batch]
    float* rope_ = nullptr;              // [n_batch, head_dim]
    std::int32_t* forced_ = nullptr;     // [n_moe_layer, n_batch, n_expert_used]
    std::vector<double> frequencies_;    // [head_dim / 2]
    StepParams params_;
    std::unique_ptr<Backend> cpu_;
    std::optional<ExpertStreams> streams_;
    std::unique_ptr<Executor> executor_;
    Checkpoint before_step_;  // where an interrupted step returns to
    std::vector<std::int32_t> tokens_;
    ExpertSource expert_source_;
    const std::atomic<bool>* stop_ = nullptr;
};

}  // namespace lfm
