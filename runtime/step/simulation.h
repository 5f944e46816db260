// Simulated devices from machine profiles: an RTX 4060 Ti's timeline on a laptop.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "backends/sim/sim_device.h"
#include "planner/cost/rates.h"
#include "planner/machine/machine.h"
#include "runtime/step/engine.h"

namespace lfm {

/// The device's rates as plain numbers. `rates` has a device.
sim::SimRates device_sim_rates(const MachineRates& rates);

/// Seconds that the host takes for operations by the profile: SessionOptions::host_seconds. Beside experts that travel
/// it loses what the profile says.
std::function<double(std::span<const Operation>, const StepParams&)> host_clock(const MachineRates& rates);

struct SimulationOptions {
    const MachineProfile& machine;
    std::size_t device = 0;  // of machine.devices
    Bytes budget;
    BackendLimits limits;
    HostArithmetic arithmetic = HostArithmetic::kRun;  // the device's, too
    ActivationKind activations = ActivationKind::kQuantised;
};

/// Throws Error{kInvalidInput} when the profile has no such device, Error{kShortfall} when the budget does not hold the
/// driver's context.
std::unique_ptr<sim::SimDevice> make_simulated(const SimulationOptions& options, Ledger& ledger);

}  // namespace lfm
