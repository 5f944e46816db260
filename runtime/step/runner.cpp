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
    positions_.reserve(options.n_sequences);
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

/// Computes its first n tokens, as far as they are not.
void Runner::catch_up(Sequence& sequence, std::size_t n, StepWishes& wishes) {
    while (sequence.n_computed() < n) {
        const auto rest = sequence.tokens().first(n).subspan(sequence.n_computed());
        const StepPart part{&sequence, rest.first(std::min<std::size_t>(options_.n_batch, rest.size())),
                            Outputs::kNone};
        run_watched({&part, 1}, wishes);
    }
}

std::span<const float> Runner::run(Sequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
                                   StepWishes& wishes) {
    with_recovery([&] {
        catch_up(sequence, sequence.tokens().size(), wishes);
        const StepPart part{&sequence, tokens, outputs};
        run_watched({&part, 1}, wishes);
    });
    return logits();
}

std::span<const float> Runner::run(std::span<const StepPart> parts, StepWishes& wishes) {
    positions_.clear();
    for (const StepPart& part : parts) positions_.push_back(part.sequence->n_computed());
    with_recovery([&] {
        for (std::size_t i = 0; i < parts.size(); ++i) catch_up(*parts[i].sequence, positions_[i], wishes);
        run_watched(parts, wishes);
    });
    return logits();
}

std::span<const float> Runner::logits() const {
    return {engine_->rows().logits.data, std::size_t{inputs_.params().n_outputs} * model_.hyper().n_vocab};
}

Checkpoint Runner::checkpoint(Sequence& sequence, StepWishes& wishes) {
    Checkpoint checkpoint;
    with_recovery([&] {
        catch_up(sequence, sequence.tokens().size(), wishes);
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
    for (const float logit : logits())
        if (!std::isfinite(logit))
            throw Error(ErrorCode::kDeviceLost, std::string(model_.device()->name()),
                        "expected finite logits, found " + std::to_string(logit));
}

void Runner::run_watched(std::span<const StepPart> parts, StepWishes& wishes) {
    if (wishes.watcher == nullptr) return run_step(parts, wishes);
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
    run_step(parts, wishes);
}

void Runner::run_step(std::span<const StepPart> parts, const StepWishes& wishes) {
    if (wishes.stop != nullptr && wishes.stop->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kInterrupted, "generation", "stopped on request");
    for (const StepPart& part : parts)
        if (!part.sequence->reserve(static_cast<std::uint32_t>(part.tokens.size())))
            throw Error(ErrorCode::kShortfall, "sequences",
                        "expected pages of keys and values for " + std::to_string(part.tokens.size()) +
                            " tokens more, found " + std::to_string(pool_.pages().n_free()) + " free");
    inputs_.write(parts, wishes.experts);
    try {
        engine_->run(wishes.stop);
    } catch (const Error&) {
        require_file();
        throw;
    }
    require_file();
    check_logits();
    for (const StepPart& part : parts)
        part.sequence->commit(part.tokens, static_cast<std::uint32_t>(part.tokens.size()));
}

std::span<const std::int32_t> Runner::last_experts(std::uint32_t moe_layer) const {
    return {engine_->rows().choices[moe_layer].ids,
            std::size_t{inputs_.params().n_tokens} * model_.hyper().n_expert_used};
}

}  // namespace lfm
