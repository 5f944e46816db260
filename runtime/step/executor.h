// Runs the layer program on a oneTBB graph: the device's part of a step is handed over ahead, the host's part joins by
// points of the device's timelines.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "backends/device.h"
#include "runtime/experts/expert_streams.h"
#include "runtime/step/layer_program.h"
#include "runtime/step/step_trace.h"

namespace lfm {

/// A device, and what the host does beside it. All outlive the executor.
struct DeviceSide {
    Device* device = nullptr;
    ExpertStreams* streams = nullptr;
};

struct ExecutorInputs {
    std::vector<Stage> program;
    Backend& host;
    DeviceSide beside;  // none: every stage is the host's
    const StepParams& params;
    std::uint32_t n_threads = 1;
    StepTrace* trace = nullptr;  // outlives the executor
};

/// Seconds of a step by the host's clock.
struct StepTimes {
    double total = 0;
    double host = 0;     // that the host computed
    double experts = 0;  // of it, experts beside the device
};

class Executor {
public:
    /// Records every stage. Backends and `params` outlive the executor.
    explicit Executor(ExecutorInputs inputs);
    ~Executor();

    /// One step with the present contents of the params. Blocks. When `stop` becomes true the host's remaining stages
    /// are left out and Error{kInterrupted} is thrown. Rethrows what a device throws; the device's part has ended, or
    /// the device is lost, in every case. When the device gives up waiting (Device::stalled) the step is done again,
    /// and from then on the device waits for nothing: each of its parts is handed over when what it needs is there.
    void run(const std::atomic<bool>* stop);

    StepTimes last_times() const;
    /// How many steps were done again.
    std::uint64_t n_stalled() const;
    /// The graph's nodes in order, for people: "blk.3 (device)", "blk.3 cold (host, beside the device)".
    std::vector<std::string> describe() const;

private:
    class Graph;
    std::unique_ptr<Graph> graph_;
};

}  // namespace lfm
