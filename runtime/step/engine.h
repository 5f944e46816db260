// Everything that runs steps by one plan: rows, staging, the host's backend, the executor.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "memory/ledger.h"
#include "planner/cost/decode_cost.h"
#include "runtime/experts/cost_learner.h"
#include "runtime/experts/expert_residency.h"
#include "runtime/experts/expert_streams.h"
#include "runtime/experts/staging.h"
#include "runtime/step/executor.h"
#include "runtime/step/session_options.h"
#include "runtime/tensors/activations.h"
#include "runtime/tensors/registered_experts.h"
#include "runtime/state/state_pool.h"
#include "runtime/tensors/weights.h"

namespace lfm {

/// Of all steps so far.
struct RunTotals {
    std::uint64_t n_decoded = 0;  // steps of one token
    StepTimes decode;             // their sums
    Bytes streamed;               // experts that travelled for one step
    Bytes given_up;               // slots, because others took the device's memory
};

class Engine {
public:
    struct Inputs {
        const HyperParameters& hyper;
        const Plan& plan;
        const Weights& weights;  // placed by the plan
        const StatePool& pool;   // placed by the plan
        Device* device;          // null when everything is on the host
        const SessionOptions& options;
        const StepParams& params;
    };
    /// Allocates everything that steps will need. All inputs outlive the engine. Throws Error{kShortfall}, what the
    /// device throws.
    Engine(const Inputs& inputs, Ledger& ledger);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// As Executor::run; then experts may change places for the steps to come.
    void run(const std::atomic<bool>* stop);

    /// Logits and choices of the last step.
    const Activations& rows() const { return rows_.of(kHost); }
    const Executor& executor() const { return *executor_; }
    const ExpertResidency& residency() const { return residency_; }
    const RegisteredExperts& registered() const { return registered_; }
    /// Of the last step: by the host's clock, or the device's virtual time.
    StepTimes last_times() const;
    const RunTotals& totals() const { return totals_; }
    /// What the last hundred decode steps taught; nothing before, without a device, or when nothing may adapt.
    const std::optional<Learnt>& learnt() const { return learnt_; }

private:
    void finish_virtual_step();
    void learn(const CacheHits& before);

    const StepParams& params_;
    Device* device_;
    Adaptation adaptation_;
    std::vector<ExpertTimes> times_;  // as planned, then as learnt
    double host_planned_ = 0;         // seconds of one expert on the host, by the profile
    CostLearner learner_;
    std::optional<Learnt> learnt_;
    RunTotals totals_;
    std::optional<StepTrace> trace_;
    VirtualClock* clock_ = nullptr;  // null: time is real
    RegisteredExperts registered_;
    ExpertResidency residency_;
    Staging staging_;
    StepRows rows_;
    std::unique_ptr<Backend> host_;
    std::optional<ExpertStreams> streams_;
    std::optional<Executor> executor_;
};

}  // namespace lfm
