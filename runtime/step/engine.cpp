#include "runtime/step/engine.h"

#include <algorithm>

#include "backends/virtual_clock.h"

namespace lfm {
namespace {

std::unique_ptr<Backend> make_host(VirtualClock* clock, const SessionOptions& options, Ledger& ledger) {
    if (clock != nullptr)
        if (auto host = clock->make_host()) return host;
    return cpu::make_cpu_backend({.kernels = options.kernels,
                                  .n_threads = options.n_threads,
                                  .limits = options.limits()},
                                 ledger);
}

}  // namespace

Engine::Engine(const Inputs& in, Ledger& ledger)
    : params_(in.params),
      device_(in.device),
      adaptation_(in.options.adaptation),
      times_(in.options.expert_times),
      clock_(in.device != nullptr ? in.device->clock() : nullptr),
      registered_(in.plan, in.weights, in.device),
      residency_({in.plan, in.weights, in.device, times_, in.options.adaptation, in.options.n_threads}),
      staging_(in.plan, in.weights, in.device),
      rows_(in.hyper, {in.options.n_batch, in.options.n_outputs}, staging_.layout().n_rounds(), in.device, ledger),
      host_(make_host(clock_, in.options, ledger)) {
    auto program =
        make_layer_program({in.hyper, in.plan, in.weights, in.pool, rows_, staging_.layout(), residency_.table()});
    const auto first = std::ranges::find_if(times_, [](const ExpertTimes& times) { return times.host > 0; });
    if (first != times_.end()) host_planned_ = first->host;
    if (in.options.trace != nullptr) trace_.emplace(*in.options.trace, program);
    ExecutorInputs inputs{.program = std::move(program),
                          .host = *host_,
                          .params = in.params,
                          .n_threads = in.options.n_threads,
                          .trace = trace_ && clock_ == nullptr ? &*trace_ : nullptr};
    if (in.device != nullptr) {
        streams_.emplace(ExpertStreams::Inputs{in.plan, in.weights, residency_.table(), staging_, rows_, times_});
        inputs.beside = {.device = in.device, .streams = &*streams_};
    }
    executor_.emplace(std::move(inputs));
}

void Engine::finish_virtual_step() {
    clock_->finish_step();
    if (trace_) trace_->record_virtual(clock_->events(), clock_->times().total, params_.n_tokens, params_.position());
}

StepTimes Engine::last_times() const {
    if (clock_ == nullptr) return executor_->last_times();
    const VirtualTimes times = clock_->times();
    return {.total = times.total, .host = times.host, .experts = times.experts};
}

void Engine::run(const std::atomic<bool>* stop) {
    if (device_ != nullptr && device_->allocated() > device_->budget()) totals_.given_up += residency_.fit_budget();
    executor_->run(stop);
    if (clock_ != nullptr) finish_virtual_step();
    const StepTimes times = last_times();
    if (params_.n_tokens == 1) {
        ++totals_.n_decoded;
        totals_.decode.total += times.total;
        totals_.decode.host += times.host;
        totals_.decode.experts += times.experts;
    }
    if (device_ == nullptr) return;
    totals_.streamed += streams_->travelled();
    const CacheHits before = residency_.hits();
    residency_.end_step(rows_.of(kHost).choices, params_.n_tokens);
    // A simulated host takes the time that was planned.
    if (adaptation_ == Adaptation::kOn && params_.n_tokens == 1 && clock_ == nullptr) learn(before);
}

/// The host's experts by the profile: those missed in this step but for the ones that travelled.
void Engine::learn(const CacheHits& before) {
    const std::uint64_t missed = residency_.hits().missed - before.missed, travelled = streams_->n_travelled();
    const StepTimes times = last_times();
    const auto learnt =
        learner_.add({.total = times.total,
                      .experts = times.experts,
                      .experts_planned = host_planned_ * static_cast<double>(missed - std::min(missed, travelled))});
    if (!learnt) return;
    learnt_ = learnt;
    if (learnt->change == 1) return;
    for (ExpertTimes& layer : times_) {
        layer.host *= learnt->change;
        layer.host_while_copying *= learnt->change;
    }
    streams_->set_times(times_);
    residency_.learn_times();
}

}  // namespace lfm
