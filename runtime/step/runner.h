// A placed model, what runs its steps, and the memory of its sequences: tokens in, logits out. It alone answers for a
// lost device, for logits that are no numbers, and for a model file that changed.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/error.h"
#include "runtime/state/sequence.h"
#include "runtime/state/state_pool.h"
#include "runtime/step/engine.h"
#include "runtime/step/session_options.h"
#include "runtime/step/step_inputs.h"
#include "runtime/tensors/model.h"

namespace lfm {

/// Called, on the calling thread, before each step begins and after it has ended, whatever ended it: then no device
/// waits for the host. Must not throw.
class StepWatcher {
public:
    virtual ~StepWatcher() = default;
    virtual void step_begins() = 0;
    virtual void step_ends() = 0;
};

/// The owner's wishes for steps. Whatever is named outlives its use.
struct StepWishes {
    ExpertSource experts;                     // empty: the router chooses
    const std::atomic<bool>* stop = nullptr;  // read within steps and between them; null: never stop
    StepWatcher* watcher = nullptr;           // null: nobody watches
    double paused_seconds = 0;                // spent in the watcher's step_ends: time in which nothing was computed
};

/// Not thread-safe, but for the stop flag.
class Runner {
public:
    /// Allocates everything that steps will ever need, also on the model's device. `model` and `ledger` outlive it.
    /// Throws Error{kShortfall} when memory is refused, Error{kUsage} for options out of range, what the device throws.
    Runner(const Model& model, const SessionOptions& options, Ledger& ledger);
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    const SessionOptions& options() const { return options_; }
    const Model& model() const { return model_; }
    StatePool& pool() { return pool_; }

    /// One step, of up to n_batch tokens that follow the sequence, which is first computed as far as its tokens reach.
    /// Returns logits [n outputs, n_vocab], valid until the next step. An interrupted or failed step leaves the
    /// sequence as it was. Throws Error{kInterrupted}; Error{kInvalidModel} when the model's file was cut or written to
    /// while in use, from then on always; what the device throws, unless the host can go on without it.
    std::span<const float> run(Sequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                               StepWishes& wishes);
    /// One step of many sequences, each with tokens that follow what it has computed, n_batch rows together at most.
    /// Logits of one sequence after the other. After a loss all are computed as far as they were first.
    std::span<const float> run(std::span<const StepPart> parts, StepWishes& wishes);

    /// As Sequence's, after computing what is missing; on the host when the device is lost meanwhile.
    Checkpoint checkpoint(Sequence& sequence, StepWishes& wishes);
    void restore(Sequence& sequence, const Checkpoint& checkpoint);

    /// Why the device is no longer used; nothing when it is, or never was.
    const std::optional<std::string>& loss() const { return loss_; }
    const Engine& engine() const { return *engine_; }
    /// The last step's experts of one MoE layer: [n_tokens of that step, n_expert_used].
    std::span<const std::int32_t> last_experts(std::uint32_t moe_layer) const;

private:
    void make_engine(const Plan& plan, const Weights& weights, Device* device);
    void go_on_with_host(const Error& loss);
    /// act(), a second time with the host alone when the device is lost meanwhile.
    template <typename Act>
    void with_recovery(const Act& act);
    void catch_up(Sequence& sequence, std::size_t n, StepWishes& wishes);
    std::span<const float> logits() const;
    void run_watched(std::span<const StepPart> parts, StepWishes& wishes);
    void run_step(std::span<const StepPart> parts, const StepWishes& wishes);
    void require_file();
    void check_logits() const;

    const Model& model_;
    const SessionOptions options_;
    Ledger& ledger_;
    StepInputs inputs_;
    StatePool pool_;
    std::optional<Plan> host_plan_;  // after a loss, with the weights it places
    std::optional<Weights> host_weights_;
    std::unique_ptr<Engine> engine_;
    std::vector<std::uint32_t> positions_;  // of a step's sequences; room for n_sequences
    std::optional<std::string> loss_;
    std::optional<Error> file_error_;  // once it was there, for good
};

}  // namespace lfm
