#include "runtime/engine.h"

#include "backends/sim/sim_device.h"

namespace lfm {
namespace {

/// Takes any program and does nothing.
class IdleBackend final : public Backend {
public:
    std::string_view name() const override { return "idle"; }
    bool supports(DType) const override { return true; }
    ProgramId record(std::span<const Operation>, const StepParams&) override { return {}; }
    void submit(ProgramId) override {}
    void wait() override {}
};

std::unique_ptr<Backend> make_host(const EngineOptions& options, Ledger& ledger) {
    if (options.host_arithmetic == HostArithmetic::kSkip) return std::make_unique<IdleBackend>();
    return cpu::make_cpu_backend({.kernels = options.kernels,
                                  .n_threads = options.n_threads,
                                  .limits = {.n_batch = options.sizes.n_batch, .n_ctx = options.sizes.n_ctx}},
                                 ledger);
}

}  // namespace

Engine::Engine(const Inputs& in, Ledger& ledger)
    : params_(in.params),
      device_(in.device),
      state_(in.hyper, in.options.sizes.kv, in.options.sizes.n_ctx, {in.plan.layers, in.device}, ledger),
      residency_({in.plan, in.weights, in.device, in.options.expert_times, in.options.adaptation}),
      staging_(in.plan, in.weights, in.device),
      rows_(in.hyper, {in.options.sizes.n_batch, in.options.sizes.n_outputs}, staging_.layout().n_rounds(), in.device,
            ledger),
      host_(make_host(in.options, ledger)) {
    auto program =
        make_layer_program({in.hyper, in.plan, in.weights, state_, rows_, staging_.layout(), residency_.table()});
    // A simulated device's own clock says more than the host's.
    simulated_ = dynamic_cast<sim::SimDevice*>(in.device);
    if (in.options.trace != nullptr) trace_.emplace(*in.options.trace, program);
    ExecutorInputs inputs{.program = std::move(program),
                          .host = *host_,
                          .params = in.params,
                          .n_threads = in.options.n_threads,
                          .trace = trace_ && simulated_ == nullptr ? &*trace_ : nullptr};
    if (in.device != nullptr) {
        streams_.emplace(
            ExpertStreams::Inputs{in.plan, in.weights, residency_.table(), staging_, rows_, in.options.expert_times});
        inputs.beside = {.device = in.device, .streams = &*streams_};
        if (in.options.host_seconds)
            inputs.beside.host_seconds = [&options = in.options,
                                          &params = in.params](std::span<const Operation> operations) {
                return options.host_seconds(operations, params);
            };
    }
    executor_.emplace(std::move(inputs));
}

void Engine::finish_virtual_step() {
    simulated_->finish_step();
    if (trace_)
        trace_->record_virtual(simulated_->events(), simulated_->step_seconds(), params_.n_tokens, params_.position);
}

StepTimes Engine::last_times() const {
    StepTimes times = executor_->last_times();
    if (simulated_ != nullptr) times.total = simulated_->step_seconds();
    return times;
}

void Engine::run(const std::atomic<bool>* stop) {
    if (device_ != nullptr && device_->allocated() > device_->budget()) given_up_ += residency_.fit_budget();
    executor_->run(stop);
    if (device_ == nullptr) return;
    if (simulated_ != nullptr) finish_virtual_step();
    streamed_ += streams_->travelled();
    residency_.end_step(rows_.host().choices, params_.n_tokens);
}

}  // namespace lfm
