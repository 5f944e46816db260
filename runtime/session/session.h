// The public face: one sequence on one model. Tokens in, logits out.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/error.h"
#include "memory/host_buffer.h"
#include "runtime/step/engine.h"
#include "runtime/tensors/model.h"

namespace lfm {

enum class AfterLoss : std::uint8_t { kGoOnWithHost, kThrow };

struct SessionOptions {
    std::uint32_t n_ctx = 0;      // most tokens of the sequence
    std::uint32_t n_batch = 512;  // most tokens of one step
    std::uint32_t n_outputs = 1;  // most rows of logits kept from one step
    std::uint32_t n_threads = 1;
    KvTypes kv;
    const cpu::Kernels* kernels = nullptr;  // null: the fastest here
    std::vector<ExpertTimes> expert_times;  // see EngineOptions
    Adaptation adaptation = Adaptation::kOn;
    Trace* trace = nullptr;  // outlives the session
    /// What to do when the device is lost: go on with the host alone, from the token log, or throw Error{kDeviceLost}.
    AfterLoss after_loss = AfterLoss::kGoOnWithHost;
};

/// Called, on the calling thread, before each step begins and after it has ended, whatever ended it: then no device
/// waits for the host. Must not throw.
class StepWatcher {
public:
    virtual ~StepWatcher() = default;
    virtual void step_begins() = 0;
    virtual void step_ends() = 0;
};

/// Which expert (moe_layer, position, choice) uses, instead of the router's choice.
using ExpertSource = std::function<std::int32_t(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice)>;

/// A session's sequence and what its owner set, for another session that continues it.
struct SessionHistory {
    std::vector<std::int32_t> tokens;
    ExpertSource expert_source;
    const std::atomic<bool>* stop = nullptr;
    StepWatcher* watcher = nullptr;
    double paused_seconds = 0;
};

/// Not thread-safe, but for the stop flag.
class Session {
public:
    /// Allocates everything the session will ever need, also on the model's device. `model` and `ledger` outlive it.
    /// Throws Error{kShortfall} when memory is refused, Error{kUsage} for options out of range, what the device throws.
    Session(const Model& model, const SessionOptions& options, Ledger& ledger);

    /// Appends tokens to the sequence, in steps of at most n_batch. Returns the last token's logits [n_vocab], valid
    /// until the next call. Throws Error{kContextFull} (nothing appended), Error{kInvalidInput} for a token id out of
    /// range (nothing appended), Error{kInterrupted} (whole steps stay appended), Error{kInvalidModel} when the model's
    /// file was cut or written to while in use: the session is of no use from then on, and keeps throwing it.
    std::span<const float> append(std::span<const std::int32_t> tokens);

    /// Called once per step with the logits of rows [first, first + logits.size() / n_vocab) of the appended tokens.
    using LogitsSink = std::function<void(std::size_t first, std::span<const float> logits)>;
    /// As append, but computes the logits of every token; steps are at most n_outputs long.
    void append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink);

    std::uint32_t position() const { return static_cast<std::uint32_t>(history_.tokens.size()); }
    std::uint32_t n_ctx() const { return options_.n_ctx; }
    std::uint32_t n_vocab() const { return model_.hyper().n_vocab; }
    /// Every token of the sequence so far.
    std::span<const std::int32_t> tokens() const { return history_.tokens; }

    void reset();
    /// What the session is beside its model and its options; the session is of no use afterwards.
    SessionHistory take_history();
    /// A new session continues another's sequence, which fits its context. It is computed anew when tokens are appended
    /// next. Checkpoints of the other one may be restored here.
    void continue_from(SessionHistory history);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Checkpoint checkpoint();
    /// Forgets everything after the checkpoint, which was taken in this session and since its last reset.
    void restore(const Checkpoint& checkpoint);

    /// The flag is read between segments of long steps, and between steps; it outlives the session. Null: never stop.
    void set_stop_flag(const std::atomic<bool>* stop) { history_.stop = stop; }
    /// The watcher outlives the session. Null: nobody watches.
    void set_step_watcher(StepWatcher* watcher) { history_.watcher = watcher; }
    /// Spent in the watcher's step_ends so far: time in which nothing was computed.
    double paused_seconds() const { return history_.paused_seconds; }
    /// Empty: back to the router.
    void force_experts(ExpertSource source) { history_.expert_source = std::move(source); }
    /// Why the device is no longer used; nothing when it is, or never was.
    const std::optional<std::string>& loss() const { return loss_; }
    const Engine& engine() const { return *engine_; }
    /// The last step's experts of one MoE layer: [n_tokens of that step, n_expert_used].
    std::span<const std::int32_t> last_experts(std::uint32_t moe_layer) const;

private:
    enum class Outputs { kLast, kAll };
    void make_engine(const Plan& plan, const Weights& weights, Device* device);
    void go_on_with_host(const Error& loss);
    void catch_up();
    void require_file();
    void check_logits() const;
    /// act(), a second time with the host alone when the device is lost meanwhile.
    template <typename Act>
    void with_recovery(const Act& act);
    void run_watched(std::span<const std::int32_t> tokens, Outputs outputs);
    void run_step(std::span<const std::int32_t> tokens, Outputs outputs);  // advances the state, not the log
    void check(std::span<const std::int32_t> tokens) const;
    void step(std::span<const std::int32_t> tokens, Outputs outputs);
    void write_params(std::span<const std::int32_t> tokens, Outputs outputs);

    const Model& model_;
    SessionOptions options_;
    Ledger& ledger_;
    EngineOptions engine_options_;
    HostBuffer params_buffer_;
    std::int32_t* token_ids_ = nullptr;  // [n_batch]
    float* rope_ = nullptr;              // [n_batch, head_dim]
    std::int32_t* forced_ = nullptr;     // [n_moe_layer, n_batch, n_expert_used]
    std::vector<double> frequencies_;    // [head_dim / 2]
    StepParams params_;
    std::optional<Plan> host_plan_;  // after a loss, with the weights it places
    std::optional<Weights> host_weights_;
    std::unique_ptr<Engine> engine_;
    std::optional<std::string> loss_;
    std::optional<Error> file_error_;  // once it was there, for good
    Checkpoint before_step_;           // where an interrupted step returns to
    SessionHistory history_;
};

}  // namespace lfm
