// Simulated devices from machine profiles: an RTX 4060 Ti's timeline on a laptop.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/sim/sim_device.h"
#include "planner/cost/rates.h"
#include "planner/machine/machine.h"

namespace lfm {

/// The device's rates as plain numbers. `rates` has a device.
sim::SimRates device_sim_rates(const MachineRates& rates);

/// The host's beside it. While experts travel it loses what the profile says.
sim::HostRates host_sim_rates(const MachineRates& rates);

/// kSkip: nothing is computed, neither by the device nor by the host, for studies of time.
enum class SimulatedArithmetic : std::uint8_t { kRun, kSkip };

struct SimulationOptions {
    const MachineProfile& machine;
    std::size_t device = 0;  // of machine.devices
    Bytes budget;
    BackendLimits limits;
    SimulatedArithmetic arithmetic = SimulatedArithmetic::kRun;
    ActivationKind activations = ActivationKind::kQuantised;
};

/// Throws Error{kInvalidInput} when the profile has no such device, Error{kShortfall} when the budget does not hold the
/// driver's context.
std::unique_ptr<sim::SimDevice> make_simulated(const SimulationOptions& options, Ledger& ledger);

}  // namespace lfm
