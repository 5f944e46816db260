#include "runtime/step/simulation.h"

#include <algorithm>
#include <vector>

#include "memory/error.h"

namespace lfm {
namespace {

sim::SimRates plain(const ProcessorRates& rates) {
    return {.matvec_seconds_per_byte = rates.matvec_seconds_per_byte,
            .gemm_seconds_per_flop = rates.gemm_seconds_per_flop,
            .attention_seconds_per_byte = rates.attention_seconds_per_byte,
            .operation_seconds = rates.operation_seconds};
}

/// The host's part of an operation on experts.
struct HostExperts {
    std::vector<std::uint32_t> n_tokens;  // [n_expert]
    bool others_travel = false;
};

HostExperts count(const ExpertFfnArgs& args, std::uint32_t n_tokens) {
    HostExperts host{std::vector<std::uint32_t>(args.experts->n_expert())};
    for (std::uint32_t i = 0; i < n_tokens * args.n_expert_used; ++i) {
        const auto expert = static_cast<std::uint32_t>(args.choice.ids[i]);
        if (args.staged.slot_of != nullptr && args.staged.slot_of[expert] >= 0)
            host.others_travel = true;
        else if ((*args.experts)[{args.layer, expert}].holder == kHost)
            ++host.n_tokens[expert];
    }
    return host;
}

}  // namespace

sim::SimRates device_sim_rates(const MachineRates& rates) {
    sim::SimRates device = plain(*rates.device);
    device.handshake_seconds = rates.link.handshake_seconds;
    device.copy_seconds = rates.link.copy_seconds;
    device.h2d_seconds_per_byte = rates.link.h2d_seconds_per_byte;
    return device;
}

std::function<double(std::span<const Operation>, const StepParams&)> host_clock(const MachineRates& rates) {
    sim::SimRates host = plain(rates.host);
    host.tile_tokens = 1;
    return [host, slowdown = rates.link.host_slowdown](std::span<const Operation> operations, const StepParams& step) {
        double seconds = 0;
        for (const Operation& operation : operations) {
            const auto* experts = std::get_if<ExpertFfnArgs>(&operation);
            if (experts == nullptr) {
                seconds += sim::operation_seconds(host, operation, step, {});
                continue;
            }
            const HostExperts part = count(*experts, step.n_tokens);
            // A layer whose experts are all elsewhere costs a look at the choice.
            if (std::ranges::all_of(part.n_tokens, [](std::uint32_t n) { return n == 0; })) continue;
            seconds +=
                sim::operation_seconds(host, operation, step, part.n_tokens) * (part.others_travel ? slowdown : 1);
        }
        return seconds;
    };
}

std::unique_ptr<sim::SimDevice> make_simulated(const SimulationOptions& options, Ledger& ledger) {
    const MachineRates rates = rates_of(options.machine, options.device, FigureEnd::kMid);
    return sim::make_sim_device(
        {.budget = options.budget,
         .limits = options.limits,
         .kernels = options.activations == ActivationKind::kFloat ? &cpu::exact_kernels() : nullptr,
         .arithmetic = options.arithmetic == HostArithmetic::kSkip ? sim::Arithmetic::kSkip : sim::Arithmetic::kRun,
         .rates = device_sim_rates(rates),
         .context = options.machine.devices[options.device].context},
        ledger);
}

}  // namespace lfm
