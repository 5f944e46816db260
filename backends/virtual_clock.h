// The clock of a device that simulates time. It is the whole machine's: the device's lanes, the bus, and the host
// beside it, so that nothing of a simulated step depends on how fast this computer is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backends/device.h"

namespace lfm {

/// What the host did between two points.
struct HostWork {
    Point after;                            // it began when this was reached, and the host was free
    Point done;                             // on the host's timeline
    std::span<const Operation> operations;  // that have run: the experts chosen are read from their results
    const StepParams* step = nullptr;       // null: no operations
    double seconds = 0;                     // beside what the operations take
    bool beside_device = false;             // experts, while the device computes its own
    const char* name = "";                  // outlives the step
};

/// One operation, copy or piece of host work; seconds since the step's start.
struct VirtualEvent {
    Timeline lane = Timeline::kCompute;
    const char* name = "";
    std::uint32_t program = 0;  // kCompute: its ProgramId
    double start = 0, end = 0;
};

/// Seconds of one step.
struct VirtualTimes {
    double total = 0;
    double host = 0;     // that the host worked
    double experts = 0;  // of it, beside the device
};

class VirtualClock {
public:
    virtual ~VirtualClock() = default;

    /// Reported by whoever does the host's part of a step, from any thread.
    virtual void host_worked(const HostWork& work) = 0;
    /// Ends the step's record and computes its times. Everything submitted has finished, else Error{kUsage}.
    /// Device::begin_step does it when nobody did. Error{kInvalidInput}: reported host work waits for what waits for
    /// it.
    virtual void finish_step() = 0;
    /// Of the last finished step; events stay until the next is finished.
    virtual VirtualTimes times() const = 0;
    virtual std::span<const VirtualEvent> events() const = 0;

    /// False: times are wanted and results are not. Then make_host gives what stands for the host.
    virtual bool computes() const = 0;
    /// A host that computes nothing but routes, as forced. Null where results are wanted: the host computes as ever.
    virtual std::unique_ptr<Backend> make_host() const = 0;
};

}  // namespace lfm
