#include "runtime/step/simulation.h"

namespace lfm {
namespace {

sim::SimRates plain(const ProcessorRates& rates) {
    return {.matvec_seconds_per_byte = rates.matvec_seconds_per_byte,
            .gemm_seconds_per_flop = rates.gemm_seconds_per_flop,
            .attention_seconds_per_byte = rates.attention_seconds_per_byte,
            .operation_seconds = rates.operation_seconds};
}

}  // namespace

sim::SimRates device_sim_rates(const MachineRates& rates) {
    sim::SimRates device = plain(*rates.device);
    device.handshake_seconds = rates.link.handshake_seconds;
    device.copy_seconds = rates.link.copy_seconds;
    device.h2d_seconds_per_byte = rates.link.h2d_seconds_per_byte;
    return device;
}

sim::HostRates host_sim_rates(const MachineRates& rates) {
    sim::HostRates host{.processor = plain(rates.host), .slowdown = rates.link.host_slowdown};
    host.processor.tile_tokens = 1;
    return host;
}

std::unique_ptr<sim::SimDevice> make_simulated(const SimulationOptions& options, Ledger& ledger) {
    const MachineRates rates = rates_of(options.machine, options.device, FigureEnd::kMid);
    return sim::make_sim_device(
        {.budget = options.budget,
         .limits = options.limits,
         .kernels = options.activations == ActivationKind::kFloat ? &cpu::exact_kernels() : nullptr,
         .arithmetic =
             options.arithmetic == SimulatedArithmetic::kSkip ? sim::Arithmetic::kSkip : sim::Arithmetic::kRun,
         .rates = device_sim_rates(rates),
         .host = host_sim_rates(rates),
         .context = options.machine.devices[options.device].context},
        ledger);
}

}  // namespace lfm
