#include "runtime/step/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "backends/virtual_clock.h"

namespace lfm {

Runner::Runner(const Model& model, const SessionOptions& options, Ledger& ledger)
    : model_(model),
      options_(checked(options)),
      ledger_(ledger),
      inputs_(model.hyper(), options.sizes(), ledger),
      pool_(model.hyper(), options.sizes()) {
    make_engine(model.plan(), model.weights(), model.device());
}

void Runner::make_engine(const Plan& plan, const Weights& weights, Device* device) {
    pool_.place({plan.layers, device}, ledger_);
    engine_ = std::make_unique<Engine>(
        Engine::Inputs{model_.hyper(), plan, weights, pool_, device, options_, inputs_.params()}, ledger_);
}

/// A lost device takes the sequences' states along. May be called again should the first attempt find no memory.
void Runner::go_on_with_host(const Error& loss) {
    if (!loss_) loss_ = loss.what();
    engine_.reset();
    pool_.give_back();
    if (!host_plan_) host_plan_ = make_host_plan(model_.description(), options_.sizes());
    if (!host_weights_) host_weights_.emplace(model_.description(), *host_plan_, model_.data(), ledger_, nullptr);
    make_engine(*host_plan_, *host_weights_, nullptr);
}

template <typename Act>
void Runner::with_recovery(const Act& act) {
    if (file_error_) throw *file_error_;
    if (engine_ != nullptr) try {
            return act();
        } catch (const Error& error) {
            if (error.code() != ErrorCode::kDeviceLost || loss_ || options_.after_loss == AfterLoss::kThrow) throw;
            go_on_with_host(error);
        }
    else
        go_on_with_host(Error(ErrorCode::kDeviceLost, "device", "lost before"));
    act();
}

void Runner::catch_up(Sequence& sequence, StepWishes& wishes) {
    for (;;) {
        const auto rest = sequence.tokens().subspan(sequence.n_computed());
        if (rest.empty()) return;
        run_watched(sequence, rest.first(std::min<std::size_t>(options_.n_batch, rest.size())), Outputs::kLast, wishes);
    }
}

std::span<const float> Runner::run(Sequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                                   StepWishes& wishes) {
    with_recovery([&] {
        catch_up(sequence, wishes);
        run_watched(sequence, tokens, outputs, wishes);
    });
    return {engine_->rows().logits.data, std::size_t{inputs_.params().n_outputs} * model_.hyper().n_vocab};
}

Checkpoint Runner::checkpoint(Sequence& sequence, StepWishes& wishes) {
    Checkpoint checkpoint;
    with_recovery([&] {
        catch_up(sequence, wishes);
        checkpoint = sequence.checkpoint();
    });
    return checkpoint;
}

void Runner::restore(Sequence& sequence, const Checkpoint& checkpoint) {
    with_recovery([&] { sequence.restore(checkpoint); });
}

/// After the weights were read. The state may have been computed with others than the model's: there is no way back.
void Runner::require_file() {
    file_error_ = model_.file_error();
    if (file_error_) throw *file_error_;
}

/// A device that gives no numbers is as good as lost: the host shows whether it was the model.
void Runner::check_logits() const {
    if (loss_ || model_.device() == nullptr) return;
    if (VirtualClock* const clock = model_.device()->clock(); clock != nullptr && !clock->computes()) return;
    const float* logits = engine_->rows().logits.data;
    const std::size_t n = std::size_t{inputs_.params().n_outputs} * model_.hyper().n_vocab;
    for (std::size_t i = 0; i < n; ++i)
        if (!std::isfinite(logits[i]))
            throw Error(ErrorCode::kDeviceLost, std::string(model_.device()->name()),
                        "expected finite logits, found " + std::to_string(logits[i]));
}

void Runner::run_watched(Sequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                         StepWishes& wishes) {
    if (wishes.watcher == nullptr) return run_step(sequence, tokens, outputs, wishes);
    using Clock = std::chrono::steady_clock;
    struct Watch {
        Watch(StepWatcher& watcher, double& seconds) : watcher(watcher), seconds(seconds) { watcher.step_begins(); }
        ~Watch() {
            const auto ended = Clock::now();
            watcher.step_ends();
            seconds += std::chrono::duration<double>(Clock::now() - ended).count();
        }
        StepWatcher& watcher;
        double& seconds;
    };
    const Watch watch(*wishes.watcher, wishes.paused_seconds);
    run_step(sequence, tokens, outputs, wishes);
}

void Runner::run_step(Sequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                      const StepWishes& wishes) {
    if (wishes.stop != nullptr && wishes.stop->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kInterrupted, "generation", "stopped on request");
    inputs_.write(sequence.next(static_cast<std::uint32_t>(tokens.size())), tokens, outputs, wishes.experts);
    try {
        engine_->run(wishes.stop);
    } catch (const Error&) {
        require_file();
        throw;
    }
    require_file();
    check_logits();
    sequence.commit(tokens, inputs_.params().n_tokens);
}

std::span<const std::int32_t> Runner::last_experts(std::uint32_t moe_layer) const {
    return {engine_->rows().choices[moe_layer].ids,
            std::size_t{inputs_.params().n_tokens} * model_.hyper().n_expert_used};
}

}  // namespace lfm
