#include "backends/gpu/emulation/stream.h"

#include <cstring>
#include <utility>

#include "backends/gpu/emulation/group_runner.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/trespass.h"

namespace lfm::gpu {

namespace emulation {

namespace {

void run_copy(const Work& work, EmulatedDevice& device) {
    for (const void* side : {static_cast<const void*>(work.to), work.from}) {
        const auto problem = device.memory().problem_of(side, work.size);
        if (!problem) continue;
        report("copy of " + std::to_string(work.size) + " bytes, as it runs: " + *problem);
        return device.lose(api::Status::kIllegalAddress);
    }
    std::memmove(work.to, work.from, work.size);
}

void run(const Work& work, GroupRunner& runner) {
    EmulatedDevice& device = EmulatedDevice::of_process();
    if (device.lost()) return;
    switch (work.kind) {
        case Work::Kind::kLaunch: {
            GroupRunner::End end = GroupRunner::End::kDone;
            if (work.start == Start::kEarly) end = runner.run_until_it_waits(work.kernel, work.groups, work.push);
            if (end == GroupRunner::End::kDone) end = runner.run(work.kernel, work.groups, work.push);
            if (end == GroupRunner::End::kFailed) device.lose(api::Status::kLaunchFailure);
            if (end == GroupRunner::End::kTrespassed) device.lose(api::Status::kIllegalAddress);
            break;
        }
        case Work::Kind::kCopy: run_copy(work, device); break;
        case Work::Kind::kGraph: {
            const std::lock_guard lock(work.graph->running);
            for (const Work& part : work.graph->works) run(part, runner);
            break;
        }
    }
}

/// Its graph may be destroyed from now on.
void forget(const Work& work) {
    if (work.kind != Work::Kind::kGraph) return;
    const std::lock_guard lock(work.graph->mutex);
    --work.graph->n_queued;
    work.graph->changed.notify_all();
}

}  // namespace

std::uint64_t OneQueue::take_turn() {
    const std::lock_guard lock(mutex_);
    unfinished_.insert(++n_taken_);
    return n_taken_;
}

void OneQueue::await_turn(std::uint64_t order) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return *unfinished_.begin() == order; });
}

void OneQueue::finish(std::uint64_t order) {
    const std::lock_guard lock(mutex_);
    unfinished_.erase(order);
    changed_.notify_all();
}

}  // namespace emulation

namespace api {

using emulation::GroupRunner;
using emulation::Work;

StreamState::StreamState() : thread_([this] { work_off(); }) {}

StreamState::~StreamState() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void StreamState::enqueue(const Work& given) {
    if (captured_ != nullptr) {
        captured_->works.push_back(given);
        return;
    }
    Work work = given;
    if (work.kind == Work::Kind::kGraph) {
        const std::lock_guard lock(work.graph->mutex);
        ++work.graph->n_queued;
    }
    emulation::EmulatedDevice& device = emulation::EmulatedDevice::of_process();
    const std::lock_guard gate(device.gate());  // as a driver's lock is held, so that all others stand behind this one
    std::unique_lock lock(mutex_);
    device.count_waiting(n_not_done_ + 1);
    changed_.wait(lock, [this] { return n_not_done_ < kMostWaiting; });
    if (device.machine().serialising == emulation::Serialising::kOneQueue)
        work.order = Streams::of_process().one_queue().take_turn();
    waiting_.push_back(work);
    ++n_not_done_;
    lock.unlock();
    changed_.notify_all();
}

bool StreamState::idle() {
    const std::lock_guard lock(mutex_);
    return waiting_.empty() && state_ == State::kIdle;
}

void StreamState::wait_until_idle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.empty() && state_ == State::kIdle; });
}

Graph StreamState::end_capture() { return std::exchange(captured_, nullptr); }

Streams& Streams::of_process() {
    static Streams* const streams = new Streams;  // outlives those who use it, as the device does
    return *streams;
}

Stream Streams::create() {
    auto made = std::make_unique<StreamState>();
    const std::lock_guard lock(mutex_);
    all_.insert(made.get());
    return made.release();
}

std::unique_ptr<StreamState> Streams::remove(Stream stream) {
    const std::lock_guard lock(mutex_);
    return std::unique_ptr<StreamState>(all_.erase(stream) > 0 ? stream : nullptr);
}

bool Streams::has(Stream stream) {
    const std::lock_guard lock(mutex_);
    return all_.contains(stream);
}

bool Streams::any() {
    const std::lock_guard lock(mutex_);
    return !all_.empty();
}

void Streams::wait_until_idle() {
    // Without the lock: what they wait for may be another call.
    std::vector<Stream> present;
    {
        const std::lock_guard lock(mutex_);
        present.assign(all_.begin(), all_.end());
    }
    for (const Stream stream : present) stream->wait_until_idle();
}

void StreamState::work_off() {
    const emulation::TrespassWatch watch;
    GroupRunner runner(emulation::EmulatedDevice::of_process().lost_flag());
    std::vector<Work> works;
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        std::swap(works, waiting_);
        state_ = State::kBusy;
        lock.unlock();
        for (const Work& work : works) {
            emulation::OneQueue& one_queue = Streams::of_process().one_queue();
            if (work.order > 0) one_queue.await_turn(work.order);
            emulation::run(work, runner);
            emulation::forget(work);
            if (work.order > 0) one_queue.finish(work.order);
            lock.lock();
            const bool was_full = n_not_done_-- == kMostWaiting;
            lock.unlock();
            if (was_full) changed_.notify_all();
        }
        works.clear();
        lock.lock();
        state_ = State::kIdle;
        changed_.notify_all();
    }
}

}  // namespace api
}  // namespace lfm::gpu
