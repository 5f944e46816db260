// The device itself: its state, and what guards it. The calls are in sim_device.cpp, the threads in lanes.cpp.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "backends/sim/host_time.h"
#include "backends/sim/idle_host.h"
#include "backends/sim/points.h"
#include "backends/sim/ring.h"
#include "backends/sim/sim_memory.h"
#include "backends/sim/sim_programs.h"
#include "backends/sim/virtual_time.h"
#include "memory/error.h"

namespace lfm::sim {

/// One mutex guards everything; the lanes run programs and copies outside it. `changed_` tells of new work, reached
/// points and the end.
class SimulatedDevice final : public SimDevice {
public:
    SimulatedDevice(const SimOptions& options, Ledger& ledger);
    /// What runs ends; what waits is dropped.
    ~SimulatedDevice() override;

    std::string_view name() const override { return "sim"; }
    DeviceId id() const override { return options_.id; }
    DeviceLimits limits() const override { return options_.device; }
    bool supports(DType weight_type) const override { return programs_.supports(weight_type); }
    Bytes allocated() const override {
        return locked([&] { return memory_.used(); });
    }
    Bytes peak() const override {
        return locked([&] { return memory_.peak(); });
    }
    Bytes budget() const override {
        return locked([&] { return memory_.budget(); });
    }
    Point last(Timeline timeline) const override {
        return locked([&] { return points_.last(timeline); });
    }

    DeviceBlock allocate(MemoryKind kind, Purpose purpose, std::size_t size) override;
    void upload(std::span<const CopyRegion> regions) override;
    void download(std::span<std::byte> to, const std::byte* from) override;
    void begin_step() override;
    using SimDevice::submit;
    std::uint32_t launches(ProgramId program) const override;
    Point submit(ProgramId program, std::span<const Point> waits, Watched watched) override;
    void flush() override;
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits) override;
    void signal() override;
    using SimDevice::wait;
    void wait(Point point) override;
    void host_worked(const HostWork& work) override;

    void finish_step() override;
    VirtualTimes times() const override {
        return locked([&] { return time_.times(); });
    }
    bool computes() const override { return options_.arithmetic == Arithmetic::kRun; }
    std::unique_ptr<Backend> make_host() const override { return computes() ? nullptr : make_idle_host(); }
    std::span<const VirtualEvent> events() const override {
        return locked([&] { return time_.events(); });
    }
    void inject(const SimFaults& faults) override;
    SimCounts counts() const override {
        return locked([&] { return faults_.counts(); });
    }

private:
    struct Batch {
        ProgramId program;
        std::vector<Point> waits;
        Watched watched = Watched::kYes;
        std::uint32_t launches = 0;
        void reserve() { waits.reserve(8); }
    };
    struct Copy {
        std::vector<CopyRegion> regions;
        std::vector<Point> waits;
        void reserve() {
            regions.reserve(48);
            waits.reserve(8);
        }
    };
    using Lock = std::unique_lock<std::mutex>;

    void release(const DeviceBlock::Place& place) noexcept override;
    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override;
    void forget_program(ProgramId program) noexcept override;

    template <typename Ask>
    std::invoke_result_t<Ask> locked(const Ask& ask) const {
        const std::lock_guard lock(mutex_);
        return ask();
    }

    /// Every call that asks the device to do something, but signal, begins here. Throws Error{kDeviceLost}.
    Lock enter();

    // From here on the caller holds the mutex.

    /// A call, or work beginning to run, where the device may be lost on demand.
    void count_call();
    void lose(const std::string& message);
    /// Until no lane runs anything. What waits goes on waiting.
    void await_quiet(Lock& lock);
    void throw_if_lost(Lock& lock);
    Error misuse(std::string_view expected, const std::string& found) const;
    void expect_idle(std::string_view when) const;
    void count_allocation(std::string_view what);
    void forget(ProgramId program);
    void check(const std::byte* address, std::size_t size) const;
    void check(std::span<const CopyRegion> regions) const;
    void finish();

    // The threads; they take the mutex themselves.
    void run_compute_lane();
    void run_copy_lane();
    /// work() for one item of a lane, outside the lock. Returns whether the item is through.
    template <typename Work>
    bool run_unlocked(Lock& lock, const Work& work);
    /// Needs no lock.
    void carry_out(std::span<const CopyRegion> regions) const;

    /// Held by flush while it waits for room in the queue, and taken by the calls that have to wait behind it.
    std::mutex gate_;
    const SimOptions options_;
    const std::string where_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    SimMemory memory_;
    SimPrograms programs_;
    VirtualTime time_;
    HostTime host_time_;
    FaultCounter faults_;
    Points points_;
    Bytes scratch_;
    std::vector<ProgramId> forgotten_;  // while work was enqueued
    Ring<Batch> batches_;               // submitted and not through
    std::size_t n_flushed_ = 0;         // of them, the first ones: handed over
    std::uint32_t n_launches_ = 0;      // of those
    std::uint32_t n_unseen_ = 0;        // points of programs that are through and that nobody watched
    Ring<Copy> copies_;
    std::uint32_t n_running_ = 0;  // lanes at work
    bool in_step_ = false;         // between begin_step and finish_step
    std::optional<std::string> lost_;
    bool stopped_ = false;
    std::thread compute_lane_, copy_lane_;  // last: they use all of the above
};

}  // namespace lfm::sim
