// The machine that the emulation shows to the program. Of the process, as a vendor's runtime is.
#pragma once

#include <cstddef>

namespace lfm::gpu::emulation {

struct Machine {
    int n_devices = 1;  // or 0
    std::size_t memory = std::size_t{8} << 30;
    int n_processors = 4;
    int shared_bytes = 48 << 10;
    int major = 8, minor = 0;
    int integrated = 0;
};

/// As after a restart of the process: no error stays, no report and no fault is left, counts begin anew, threads run
/// forward. Allocations and streams that are still there remain theirs who made them; no stream may have something to
/// do.
void reset_machine(const Machine& machine = {});

}  // namespace lfm::gpu::emulation
