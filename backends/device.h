// A device beside the host: memory of its own, and work that is enqueued a whole step ahead. Host and device meet at
// points of timelines.
//
// Addresses of device memory are pointers that only the device may follow; the views in its operations hold such
// addresses.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "memory/ledger.h"
#include "memory/units.h"

namespace lfm {

class Device;
class VirtualClock;  // virtual_clock.h

enum class MemoryKind : std::uint8_t {
    kOwn,     // the device's
    kShared,  // pinned memory that host and device both read and write; counts in the device's budget too
};

/// Owned device memory; its device outlives it. Move-only.
class DeviceBlock {
public:
    struct Place {
        std::byte* address = nullptr;  // for the device's operations, 256-byte aligned
        std::byte* host = nullptr;     // kShared: the same bytes for the host; else null
        std::size_t size = 0;
        std::uint64_t handle = 0;  // the device's own
    };

    DeviceBlock() = default;
    DeviceBlock(Device& device, const Place& place) : device_(&device), place_(place) {}
    DeviceBlock(DeviceBlock&& other) noexcept
        : device_(std::exchange(other.device_, nullptr)), place_(std::exchange(other.place_, {})) {}
    DeviceBlock& operator=(DeviceBlock&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(place_, other.place_);
        return *this;
    }
    inline ~DeviceBlock();

    std::byte* address() const { return place_.address; }
    std::span<std::byte> host() const { return {place_.host, place_.host != nullptr ? place_.size : 0}; }
    std::size_t size() const { return place_.size; }

private:
    Device* device_ = nullptr;
    Place place_;
};

/// Host memory that a device reads without the host's help; its device outlives it. Move-only.
class HostRegistration {
public:
    HostRegistration() = default;
    HostRegistration(Device& device, std::uint64_t handle, Bytes bytes)
        : device_(&device), handle_(handle), bytes_(bytes) {}
    HostRegistration(HostRegistration&& other) noexcept
        : device_(std::exchange(other.device_, nullptr)), handle_(other.handle_), bytes_(other.bytes_) {}
    HostRegistration& operator=(HostRegistration&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(handle_, other.handle_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    inline ~HostRegistration();

    /// How much of what was asked for is registered; the rest is copied as any other memory is.
    Bytes bytes() const { return bytes_; }

private:
    Device* device_ = nullptr;
    std::uint64_t handle_ = 0;  // the device's own
    Bytes bytes_;
};

/// Who advances a timeline: the device when work on its compute lane or its copy lane has finished, or the host.
enum class Timeline : std::uint8_t { kCompute, kCopy, kHostSignals };
inline constexpr std::size_t kTimelines = 3;

/// A point of a timeline. Values rise by one from 1; a point is reached, and stays so, when the timeline's value is at
/// least this.
struct Point {
    Timeline timeline = Timeline::kHostSignals;
    std::uint64_t value = 0;
    bool operator==(const Point&) const = default;
};

/// The latest value of each timeline that is waited for; 0: none is.
using LatestPoints = std::array<std::uint64_t, kTimelines>;
inline LatestPoints latest_points(std::span<const Point> waits) {
    LatestPoints latest{};
    for (const Point& wait : waits) {
        std::uint64_t& value = latest[static_cast<std::size_t>(wait.timeline)];
        value = std::max(value, wait.value);
    }
    return latest;
}

/// Host memory to device memory.
struct CopyRegion {
    std::byte* to = nullptr;          // of the device
    const std::byte* from = nullptr;  // of the host
    std::size_t size = 0;
};

/// Threads that are lent for a call: they do work(0) … work(n - 1), in any order, some at once; returns when all is
/// done. `work` does not throw.
using Workers = std::function<void(std::size_t n, const std::function<void(std::size_t)>& work)>;

/// What work on the compute lane does until the points it waits for are reached.
enum class WaitKind : std::uint8_t {
    kInQueue,   // nothing runs: it may take any time
    kSpins,     // a kernel polls, for DeviceLimits::spin_seconds at most: see Device::stalled
    kByCaller,  // it cannot wait: points must be reached when a program that waits for them is submitted
};

/// The kernel launches of the last step, for people and for measurements.
struct StepNodes {
    struct Kind {
        std::string kernel;
        std::uint32_t n = 0;
    };
    std::vector<Kind> kinds;  // launches of the compute lane, by kernel
    bool is_graph = false;    // handed over at once, all of them

    std::uint32_t total() const {
        std::uint32_t n = 0;
        for (const Kind& kind : kinds) n += kind.n;
        return n;
    }
};

struct DeviceLimits {
    Bytes largest_block;             // of one allocation
    bool copies_beside_work = true;  // false: the copy lane must not be used while a step is enqueued
    bool registers_memory = false;   // register_memory spares the host copying
    WaitKind waits = WaitKind::kInQueue;
    double spin_seconds = 0;  // kSpins
    /// Launches that may be handed over and not done; with more, flush and copy block until the device has done some.
    /// 0: any number.
    std::uint32_t most_launches = 0;
};

/// Whether anybody waits for a program's point. One that nobody watches counts as reached with the next one that is
/// watched; the last of a flush always is.
enum class Watched : std::uint8_t { kYes, kNo };

/// What a program was recorded with (StepParams, expert tables) lives as long as the program. A device serves several
/// engines, one step at a time.
///
/// Calls come from one thread at a time, but for: signal, wait and stalled, from any thread at any time; copy, from any
/// thread, one call at a time; submit and flush, from one thread that may be another than the other calls'. Once the
/// device has failed, every call that asks it to do something, but signal, throws Error{kDeviceLost}, for ever after;
/// queries do not.
class Device : public Backend {
public:
    virtual DeviceId id() const = 0;
    virtual DeviceLimits limits() const = 0;

    /// Uninitialised memory, entered in the ledger by the device's id. Throws Error{kShortfall} when the budget or the
    /// driver refuses it.
    virtual DeviceBlock allocate(MemoryKind kind, Purpose purpose, std::size_t size) = 0;
    /// What is allocated now, scratch included, and the most that ever was.
    virtual Bytes allocated() const = 0;
    virtual Bytes peak() const = 0;
    /// As configured, or less while others hold the device's memory: begin_step finds out. May be less than
    /// allocated().
    virtual Bytes budget() const = 0;

    /// Between steps. Both block.
    virtual void upload(std::span<const CopyRegion> regions) = 0;
    virtual void download(std::span<std::byte> to, const std::byte* from) = 0;
    /// As upload. `workers` share what the host does of it; they are called from one thread, maybe another than this.
    virtual void upload_with(const Workers& /*workers*/, std::span<const CopyRegion> regions) { upload(regions); }

    /// Between steps. From now on copies read as much of `memory` as the driver accepts without the host's help; it is
    /// pinned in RAM, which no budget of the device's counts. A refusal is no error. `memory` outlives the result.
    virtual HostRegistration register_memory(std::span<const std::byte> /*memory*/) { return {}; }

    /// Takes over the StepParams that programs were recorded with, and changed expert tables. Nothing may be submitted
    /// or running: Error{kUsage}.
    virtual void begin_step() = 0;
    /// How many launches the program adds to those that limits() bounds, in the present step; 0 where there is no bound
    /// or a flush of the step counts as one. Throws Error{kUsage} for an unknown program.
    virtual std::uint32_t launches(ProgramId /*program*/) const { return 0; }
    /// Enqueues a program on the compute lane, to start when all `waits` are reached and what was submitted before has
    /// finished. Returns the point it reaches: one after the last. Allocates nothing. Runs after flush. Throws
    /// Error{kUsage} for an unknown program, and for points that it cannot wait for: later ones of its own lane, and
    /// unreached ones of others with WaitKind::kByCaller.
    virtual Point submit(ProgramId program, std::span<const Point> waits, Watched watched = Watched::kYes) = 0;
    /// Hands everything submitted to the device. May block, as limits() says: so never call it from the thread that
    /// reaches what the device waits for.
    virtual void flush() = 0;
    /// Enqueues copies on the copy lane, after all `waits`; no regions: only reaches its point. Starts by itself. The
    /// host memory stays as it is until the point is reached.
    virtual Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits) = 0;
    /// The last point enqueued on the compute or copy lane, or signalled by the host.
    virtual Point last(Timeline timeline) const = 0;
    /// The host reaches the next point of its timeline.
    virtual void signal() = 0;
    /// Blocks the calling thread until the point, which need not be enqueued yet, is reached.
    virtual void wait(Point point) = 0;
    /// WaitKind::kSpins: a kernel gave up waiting since the last begin_step. All points are still reached in time, but
    /// what was computed since means nothing: the step is to be done again, which no operation minds.
    virtual bool stalled() const { return false; }
    /// Of a device that simulates time; null: time is real.
    virtual VirtualClock* clock() { return nullptr; }

    /// Where the device goes a slower way than it could, and why, one sentence each: "steps run kernel by kernel: the
    /// driver refused a graph (NotSupported)". For people; may grow while steps run.
    virtual std::vector<std::string> remarks() const { return {}; }
    /// The launches since begin_step. Nothing: this device has none, or does not count them.
    virtual std::optional<StepNodes> step_nodes() const { return std::nullopt; }

    // Backend's: one program, started at once, and the end of all work.
    void submit(ProgramId program) final {
        submit(program, std::span<const Point>{});
        flush();
    }
    void wait() final {
        wait(last(Timeline::kCompute));
        wait(last(Timeline::kCopy));
    }

private:
    friend class DeviceBlock;
    virtual void release(const DeviceBlock::Place& place) noexcept = 0;
    friend class HostRegistration;
    virtual void unregister_memory(std::uint64_t /*handle*/) noexcept {}
};

inline DeviceBlock::~DeviceBlock() {
    if (device_ != nullptr) device_->release(place_);
}

inline HostRegistration::~HostRegistration() {
    if (device_ != nullptr) device_->unregister_memory(handle_);
}

}  // namespace lfm
