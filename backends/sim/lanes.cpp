// The threads of the simulated device: they begin and end with it, run what is due, and stop when it is lost.
#include <cstring>

#include "backends/sim/simulated_device.h"

namespace lfm::sim {
namespace {

std::string name_of(DeviceId id) { return "sim device " + std::to_string(id.value); }

}  // namespace

SimulatedDevice::SimulatedDevice(const SimOptions& options, Ledger& ledger)
    : options_(options),
      where_(name_of(options.id)),
      memory_({where_, options.id, options.budget, options.context, options.device.largest_block}, ledger),
      programs_(options, where_),
      time_(options.rates.handshake_seconds),
      host_time_(options.host),
      faults_(options.faults),
      compute_lane_([this] { run_compute_lane(); }),
      copy_lane_([this] { run_copy_lane(); }) {}

SimulatedDevice::~SimulatedDevice() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    changed_.notify_all();
    compute_lane_.join();
    copy_lane_.join();
}

void SimulatedDevice::count_call() {
    if (faults_.call()) lose("the device was lost on demand at call " + std::to_string(faults_.counts().calls));
}

void SimulatedDevice::lose(const std::string& message) {
    if (!lost_) lost_ = message;
    changed_.notify_all();
}

void SimulatedDevice::await_quiet(Lock& lock) {
    changed_.wait(lock, [&] { return n_running_ == 0; });
}

/// The lanes rest first: whoever catches the error may free what they read.
void SimulatedDevice::throw_if_lost(Lock& lock) {
    if (!lost_) return;
    await_quiet(lock);
    throw Error(ErrorCode::kDeviceLost, where_, *lost_);
}

void SimulatedDevice::carry_out(std::span<const CopyRegion> regions) const {
    for (const CopyRegion& region : regions)
        if (region.size > 0 && (options_.arithmetic == Arithmetic::kRun || region.size <= kLargestCarriedOut))
            std::memcpy(region.to, region.from, region.size);
}

template <typename Work>
bool SimulatedDevice::run_unlocked(Lock& lock, const Work& work) {
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

void SimulatedDevice::run_compute_lane() {
    Lock lock(mutex_);
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
        const Watched watched = batches_.front().watched;
        n_launches_ -= batches_.front().launches;
        batches_.pop();
        --n_flushed_;
        ++n_unseen_;
        if (watched == Watched::kYes)
            for (; n_unseen_ > 0; --n_unseen_) points_.reach_next(Timeline::kCompute);
        changed_.notify_all();
    }
}

void SimulatedDevice::run_copy_lane() {
    Lock lock(mutex_);
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

}  // namespace lfm::sim
