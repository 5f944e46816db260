// Measures this machine: what it reads, multiplies and copies in a second, through the interfaces that models run on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/device.h"
#include "planner/machine/machine.h"

namespace lfm {

/// The largest step that a probed place must be prepared for.
inline constexpr BackendLimits kProbeLimits{.n_batch = 512, .n_ctx = 32768};

/// A place where operations run: a backend, and memory that its operations can name.
class ProbedPlace {
public:
    virtual ~ProbedPlace() = default;

    /// Prepared for kProbeLimits; lives as long as the place.
    virtual Backend& backend() = 0;
    /// The same backend when it is a device, whose work is enqueued. Null: operations run when they are called.
    virtual Device* device() { return nullptr; }
    /// Lives as long as the place. Throws Error{kShortfall} when refused.
    virtual std::byte* take(std::size_t size) = 0;
    /// `to` lies in what take gave. Blocks.
    virtual void write(std::byte* to, std::span<const std::byte> from) = 0;
};

enum class CopyDirection { kHostToDevice, kDeviceToHost };
enum class HostPages { kPinned, kPageable, kRegistered };  // the last: to devices that register memory

struct CopyTest {
    CopyDirection direction = CopyDirection::kHostToDevice;
    HostPages pages = HostPages::kPinned;
    std::size_t size = 0;  // at most kLargestProbeCopy
};
inline constexpr std::size_t kLargestProbeCopy = std::size_t{64} << 20;

/// A device beside the host. The operations are timed through its backend; here is what only its driver can do. All
/// of it blocks and throws what the driver reports; what a call needs (buffers, a recorded step) is made before the
/// first one is timed or left out of the seconds it gives.
class ProbedDevice : public ProbedPlace {
public:
    /// Name, backend, kind of memory, memory, free, context; the figures are left alone. Cheap.
    virtual DeviceProfile description() = 0;
    /// Seconds in which the device reads memory of its own once.
    virtual double read_seconds(std::span<const std::byte> memory) = 0;
    /// Whether copies to the device from pages registered with its driver can be measured.
    virtual bool registers_memory() { return false; }
    /// Seconds of one copy between a host buffer and device memory, both of which the implementation provides. Called
    /// from one thread at a time, not always the same.
    virtual double copy_seconds(const CopyTest& test) = 0;
    /// Seconds of `count` handshakes within a recorded step: the host waits for the device and starts it again.
    virtual double handshake_seconds(std::uint32_t count) = 0;
};

enum class ProbeEffort { kQuick, kFull };

struct ProbeOptions {
    ProbeEffort effort = ProbeEffort::kQuick;  // 8 s, the usual weight types; 2 minutes, every type
    std::uint32_t n_threads = 0;               // 0: default_thread_count()
    /// Called with what is being measured and how much is done; never from two threads at once.
    std::function<void(std::string_view step, double share_done)> progress;
    const std::atomic<bool>* stop = nullptr;
    std::optional<std::chrono::duration<double>> time;  // in all; nothing: as the effort has it
    std::optional<Bytes>
        memory;  // read by the measurements; nothing: 512 MiB or 1 GiB, at most a quarter of what is free
};

struct ProbeResult {
    MachineProfile machine;
    /// What a user should know: figures that varied much, devices left out.
    std::vector<std::string> remarks;
};

/// Blocks for the time of the options. A device that fails is left out, with a remark. Throws Error{kInterrupted} soon
/// after `stop` became true, Error{kUsage} for more than 1024 threads.
ProbeResult probe_machine(const ProbeOptions& options, std::span<ProbedDevice* const> devices);

/// The identity that probe_machine's profile would have, without measuring.
MachineIdentity present_identity(std::span<ProbedDevice* const> devices = {});
MachineIdentity present_identity(std::span<const DeviceProfile> devices);

/// The present date and time, UTC, as profiles and results write it: "2026-03-01T12:00:00Z".
std::string utc_now();

}  // namespace lfm
