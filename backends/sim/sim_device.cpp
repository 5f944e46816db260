#include "backends/sim/sim_device.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>

#include "backends/sim/points.h"
#include "backends/sim/ring.h"
#include "backends/sim/sim_memory.h"
#include "backends/sim/sim_programs.h"
#include "memory/error.h"

namespace lfm::sim {
namespace {

std::string name_of(DeviceId id) { return "sim device " + std::to_string(id.value); }

/// One mutex guards everything; the lanes run programs and copies outside it. `changed_` tells of new work, reached
/// points and the end.
class SimulatedDevice final : public SimDevice {
public:
    SimulatedDevice(const SimOptions& options, Ledger& ledger)
        : options_(options),
          where_(name_of(options.id)),
          memory_({where_, options.id, options.budget, options.context, options.device.largest_block}, ledger),
          programs_(options, where_),
          time_(options.rates.handshake_seconds),
          faults_(options.faults),
          compute_lane_([this] { run_compute_lane(); }),
          copy_lane_([this] { run_copy_lane(); }) {}

    /// What runs ends; what waits is dropped.
    ~SimulatedDevice() override {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_all();
        compute_lane_.join();
        copy_lane_.join();
    }

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

    DeviceBlock allocate(MemoryKind kind, Purpose purpose, std::size_t size) override {
        const auto lock = enter();
        count_allocation(purpose_name(purpose));
        std::byte* address = memory_.allocate(purpose, size);
        return {*this, {address, kind == MemoryKind::kShared ? address : nullptr, size}};
    }

    ProgramId record(std::span<const Operation> operations, const StepParams& params) override {
        const auto lock = enter();
        expect_idle(batches_.empty(), "a program is recorded");
        const ProgramId program = programs_.record(operations, params);
        try {
            if (programs_.scratch() > scratch_) {
                count_allocation("the scratch of programs");
                memory_.set_scratch(programs_.scratch());
                scratch_ = programs_.scratch();
            }
        } catch (...) {
            programs_.drop_last();
            throw;
        }
        return program;
    }

    void upload(std::span<const CopyRegion> regions) override {
        const auto lock = enter();
        check(regions);
        carry_out(regions);
    }

    void download(std::span<std::byte> to, const std::byte* from) override {
        const auto lock = enter();
        check(from, to.size());
        std::memcpy(to.data(), from, to.size());
    }

    void begin_step() override {
        const auto lock = enter();
        expect_idle(batches_.empty(), "a step begins");
        if (faults_.step()) memory_.shrink_budget(faults_.faults().shrunk_budget);
        finish();
        programs_.begin_step();
        in_step_ = true;
    }

    using SimDevice::submit;
    Point submit(ProgramId program, std::span<const Point> waits) override {
        const auto lock = enter();
        if (!programs_.knows(program)) throw misuse("a recorded program", std::to_string(program.value));
        Batch& batch = batches_.push();
        batch.program = program;
        batch.waits.assign(waits.begin(), waits.end());
        time_.add_batch(program, waits);
        return points_.enqueue(Timeline::kCompute);
    }

    void flush() override {
        const auto lock = enter();
        n_flushed_ = batches_.size();
        changed_.notify_all();
    }

    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits) override {
        const auto lock = enter();
        check(regions);
        if (!options_.device.copies_beside_work && !batches_.empty())
            throw misuse("no copies beside work on this device", "a copy within a step");
        std::size_t n_bytes = 0;
        for (const CopyRegion& region : regions) n_bytes += region.size;
        Copy& copy = copies_.push();
        copy.regions.assign(regions.begin(), regions.end());
        copy.waits.assign(waits.begin(), waits.end());
        time_.add_copy(copy_seconds(options_.rates, n_bytes) * faults_.faults().copy_slowdown, waits);
        changed_.notify_all();
        return points_.enqueue(Timeline::kCopy);
    }

    void signal() override {
        const std::lock_guard lock(mutex_);
        if (!lost_) count_call();
        points_.enqueue(Timeline::kHost);
        points_.reach_next(Timeline::kHost);
        changed_.notify_all();
    }

    using SimDevice::wait;
    void wait(Point point) override {
        auto lock = enter();
        changed_.wait(lock, [&] { return lost_ || points_.is_reached(point); });
        throw_if_lost(lock);
        if (!in_step_ && point.timeline == Timeline::kCopy) time_.let_pass(point.value);
    }

    void host_worked(const HostWork& work) override {
        const std::lock_guard lock(mutex_);
        time_.add_host_work(work);
    }

    void finish_step() override {
        std::unique_lock lock(mutex_);
        throw_if_lost(lock);
        expect_idle(batches_.empty(), "a step ends");
        finish();
    }
    double step_seconds() const override {
        return locked([&] { return time_.seconds(); });
    }
    std::span<const SimEvent> events() const override {
        return locked([&] { return time_.events(); });
    }

    void inject(const SimFaults& faults) override {
        const std::lock_guard lock(mutex_);
        faults_.replace(faults);
    }
    SimCounts counts() const override {
        return locked([&] { return faults_.counts(); });
    }

private:
    struct Batch {
        ProgramId program;
        std::vector<Point> waits;
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

    void release(const DeviceBlock::Place& place) noexcept override {
        std::unique_lock lock(mutex_);
        await_quiet(lock);
        memory_.release(place.address);
    }

    template <typename Ask>
    std::invoke_result_t<Ask> locked(const Ask& ask) const {
        const std::lock_guard lock(mutex_);
        return ask();
    }

    // From here on the caller holds the mutex.

    /// Every call that asks the device to do something begins here.
    std::unique_lock<std::mutex> enter() {
        std::unique_lock lock(mutex_);
        throw_if_lost(lock);
        count_call();
        throw_if_lost(lock);
        return lock;
    }

    void count_call() {
        if (faults_.call()) lose("the device was lost on demand at call " + std::to_string(faults_.counts().calls));
    }

    void lose(const std::string& message) {
        if (!lost_) lost_ = message;
        changed_.notify_all();
    }

    /// Until no lane runs anything. What waits goes on waiting.
    void await_quiet(std::unique_lock<std::mutex>& lock) {
        changed_.wait(lock, [&] { return n_running_ == 0; });
    }

    /// Who catches the error frees what the lanes read.
    void throw_if_lost(std::unique_lock<std::mutex>& lock) {
        if (!lost_) return;
        await_quiet(lock);
        throw Error(ErrorCode::kDeviceLost, where_, *lost_);
    }

    Error misuse(std::string_view expected, const std::string& found) const {
        return {ErrorCode::kUsage, where_, "expected " + std::string(expected) + ", found " + found};
    }

    void expect_idle(bool idle, std::string_view when) const {
        if (!idle)
            throw misuse("nothing submitted when " + std::string(when), std::to_string(batches_.size()) + " programs");
    }

    void count_allocation(std::string_view what) {
        if (faults_.allocation())
            throw Error(ErrorCode::kShortfall, where_,
                        "expected memory for " + std::string(what) + " beside the " + format_bytes(memory_.used()) +
                            " in use, found allocation " + std::to_string(faults_.counts().allocations) +
                            " refused on demand");
    }

    void check(const std::byte* address, std::size_t size) const {
        if (size > 0 && !memory_.holds(address, size))
            throw misuse("a range within one block of the device", std::to_string(size) + " bytes elsewhere");
    }
    void check(std::span<const CopyRegion> regions) const {
        for (const CopyRegion& region : regions) check(region.to, region.size);
    }

    /// Needs no lock.
    void carry_out(std::span<const CopyRegion> regions) const {
        for (const CopyRegion& region : regions)
            if (options_.arithmetic == Arithmetic::kRun || region.size <= kLargestCarriedOut)
                std::memcpy(region.to, region.from, region.size);
    }

    void finish() {
        if (in_step_ || time_.has_work()) time_.finish(points_.reached());
        in_step_ = false;
    }

    /// work() for one item of a lane, outside the lock. Returns whether the item is through.
    template <typename Work>
    bool run_unlocked(std::unique_lock<std::mutex>& lock, const Work& work) {
        count_call();
        if (lost_) return false;
        ++n_running_;
        lock.unlock();
        std::optional<std::string> failure;
        try {
            work();
        } catch (const Error& error) {
            failure = error.message();
        } catch (const std::exception& error) {
            failure = error.what();
        }
        lock.lock();
        --n_running_;
        changed_.notify_all();
        if (failure) lose(*failure);
        return !lost_;
    }

    void run_compute_lane() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] {
                return stopped_ || (!lost_ && n_flushed_ > 0 && points_.are_reached(batches_.front().waits));
            });
            if (stopped_) return;
            const ProgramId program = batches_.front().program;
            const std::uint64_t nan = faults_.faults().nan_in_operation;
            std::span<const TimedOperation> operations;
            if (!run_unlocked(lock, [&] { operations = programs_.run(program, nan); })) continue;
            time_.batch_ran(operations);
            faults_.set_operations(programs_.n_operations());
            batches_.pop();
            --n_flushed_;
            points_.reach_next(Timeline::kCompute);
            changed_.notify_all();
        }
    }

    void run_copy_lane() {
        std::unique_lock lock(mutex_);
        std::vector<CopyRegion> regions;  // of the copy that runs
        for (;;) {
            changed_.wait(lock, [&] {
                return stopped_ || (!lost_ && !copies_.empty() && points_.are_reached(copies_.front().waits));
            });
            if (stopped_) return;
            regions.swap(copies_.front().regions);
            if (!run_unlocked(lock, [&] { carry_out(regions); })) continue;
            copies_.front().regions.swap(regions);
            copies_.pop();
            points_.reach_next(Timeline::kCopy);
            changed_.notify_all();
        }
    }

    const SimOptions options_;
    const std::string where_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    SimMemory memory_;
    SimPrograms programs_;
    VirtualTime time_;
    FaultCounter faults_;
    Points points_;
    Bytes scratch_;
    Ring<Batch> batches_;        // submitted and not through
    std::size_t n_flushed_ = 0;  // of them, the first ones: handed over
    Ring<Copy> copies_;
    std::uint32_t n_running_ = 0;  // lanes at work
    bool in_step_ = false;         // between begin_step and finish_step
    std::optional<std::string> lost_;
    bool stopped_ = false;
    std::thread compute_lane_, copy_lane_;  // last: they use all of the above
};

}  // namespace

std::unique_ptr<SimDevice> make_sim_device(const SimOptions& options, Ledger& ledger) {
    return std::make_unique<SimulatedDevice>(options, ledger);
}

}  // namespace lfm::sim
