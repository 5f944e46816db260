// A device that is simulated on the host: memory of its own, the CPU backend's arithmetic on one thread, virtual time
// from plain rates, and faults on demand.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backends/cpu/kernels/kernels.h"
#include "backends/device.h"
#include "backends/sim/faults.h"
#include "backends/sim/host_time.h"
#include "backends/sim/sim_rates.h"
#include "backends/virtual_clock.h"

namespace lfm::sim {

enum class Arithmetic : std::uint8_t {
    kRun,
    /// Time and memory without results, so that the largest models run on a laptop. Device memory is reserved and
    /// hardly touched. Carried out are: RouteArgs with the experts of StepParams::forced_experts (without them the
    /// first ones), every weight 1 / n_expert_used; CopyArgs; uploads and copies of at most kLargestCarriedOut bytes a
    /// region (maps and ids; larger ones are weights); downloads.
    kSkip,
};
inline constexpr std::size_t kLargestCarriedOut = 64 * 1024;

struct SimOptions {
    DeviceId id{1};
    Bytes budget;
    BackendLimits limits;
    const cpu::Kernels* kernels = nullptr;  // null: the fastest here
    Arithmetic arithmetic = Arithmetic::kRun;
    SimRates rates;
    HostRates host;  // beside the device
    Bytes context;   // a driver's own: in budget and ledger from the start
    DeviceLimits device{.largest_block = {std::uint64_t{1} << 46}, .copies_beside_work = true, .most_launches = 1000};
    SimFaults faults;
};

/// Beside device.h's contract: queries, counts and faults work also when the device is lost. Misuse throws
/// Error{kUsage}: begin_step or record while something runs, copies into memory that is not the device's, an unknown
/// program, a wait for a later point of the compute lane. An operation that names an expert out of range, or whose
/// expert table changed within a step, fails the device. Programs take room in a queue of limits().most_launches
/// (launches()): while flush waits for room, every other call that asks the device to do something, but submit, signal
/// and wait, waits behind it, as behind a driver's lock. Blocks end at an inaccessible page. While a program or copy
/// runs, freeing a block blocks, and so does throwing Error{kDeviceLost}: after it nothing runs any more.
class SimDevice : public Device, public VirtualClock {
public:
    VirtualClock* clock() final { return this; }
    double step_seconds() const { return times().total; }

    /// Replaces the faults. Between steps.
    virtual void inject(const SimFaults& faults) = 0;
    virtual SimCounts counts() const = 0;
};

/// `ledger` outlives the device. Throws Error{kShortfall} when the budget does not hold the context.
std::unique_ptr<SimDevice> make_sim_device(const SimOptions& options, Ledger& ledger);

}  // namespace lfm::sim
