// The machine that the emulation shows to the program. Of the process, as a vendor's runtime is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lfm::gpu::emulation {

/// How kernels run one at a time, as settings, profilers and sanitizers cause on real machines.
enum class Serialising : std::uint8_t {
    kNot,
    kLaunchesBlock,  // a launch returns when its kernel has ended
    kOneQueue,       // what streams are given runs in the order of the calls, whatever the stream
};

struct Machine {
    int n_devices = 1;                                    // or 0
    int driver_version = 13000, runtime_version = 13000;  // an older driver than runtime has no devices
    Serialising serialising = Serialising::kNot;
    std::size_t context = 0;  // of its memory, that the first stream takes
    int pins_read_only = 1;
    bool captures = true, pins = true;  // or refuses to
    std::size_t memory = std::size_t{8} << 30;
    int n_processors = 4;
    int shared_bytes = 48 << 10;
    int major = 8, minor = 0;
    int integrated = 0;
};

/// The machine that LFM_EMULATION_MACHINE describes, for programs that a test starts: words separated by commas, of
/// "launches-block", "one-queue", "no-graphs", "no-registration", "old-driver", "no-device"; others are ignored, and
/// reported.
Machine machine_of_environment();

/// As after a restart of the process: no error stays, no report and no fault is left, counts begin anew, threads run
/// forward. Allocations and streams that are still there stay with those who made them; no stream may have work left,
/// unless the device is lost.
void reset_machine(const Machine& machine = {});

}  // namespace lfm::gpu::emulation
