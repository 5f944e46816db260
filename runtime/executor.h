// Runs the layer program: one oneTBB graph node per segment, recorded on the segment's device.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "runtime/layer_program.h"

namespace lfm {

class Executor {
public:
    /// `backends` is indexed by DeviceId; backends and `params` outlive the executor. Records every segment.
    Executor(std::vector<DeviceSegment> program, std::vector<Backend*> backends, const StepParams& params,
             std::uint32_t n_threads);
    ~Executor();

    /// One step with the present contents of the params. Blocks. When `stop` becomes true it ends after the running
    /// segment and throws Error{kInterrupted}: sequence state is then half advanced. Rethrows what a device throws.
    void run(const std::atomic<bool>* stop);

private:
    struct Graph;
    std::unique_ptr<Graph> graph_;
};

}  // namespace lfm
