#include "backends/device/copy_queue.h"

#include <algorithm>
#include <utility>

namespace lfm {
namespace {

constexpr std::size_t kJobs = 64;     // room before the ring grows
constexpr std::size_t kRegions = 16;  // of one job, likewise

}  // namespace

CopyQueue::CopyQueue(Carrier& carrier) : carrier_(carrier), ring_(kJobs) {
    for (CopyJob& job : ring_) job.regions.reserve(kRegions);
    thread_ = std::thread([this] { run_jobs(); });
}

void CopyQueue::stop() noexcept {
    {
        const std::lock_guard lock(mutex_);
        stop_.store(true, std::memory_order_release);
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

CopyJob& CopyQueue::add_job(std::span<const CopyRegion> regions, std::span<const Point> waits) {
    if (n_enqueued_ - n_done_ == ring_.size()) {
        std::vector<CopyJob> larger(2 * ring_.size());
        for (std::uint64_t i = n_done_; i < n_enqueued_; ++i)
            larger[i % larger.size()] = std::move(ring_[i % ring_.size()]);
        ring_ = std::move(larger);
    }
    CopyJob& job = ring_[n_enqueued_ % ring_.size()];
    job.kind = CopyJob::Kind::kUpload;
    job.point = 0;
    job.workers = nullptr;
    job.regions.clear();
    for (const CopyRegion& region : regions)
        if (region.size > 0) job.regions.push_back(region);
    job.waits = latest_points(waits);
    return job;
}

std::uint64_t CopyQueue::enqueue() {
    changed_.notify_all();
    return ++n_enqueued_;
}

void CopyQueue::finish(std::unique_lock<std::mutex>& lock, std::uint64_t job) {
    changed_.wait(lock, [&] { return n_done_ >= job || stop_; });
    lock.unlock();
    carrier_.require_alive();
}

void CopyQueue::upload(std::span<const CopyRegion> regions, const Workers& workers) {
    std::unique_lock lock(mutex_);
    add_job(regions, {}).workers = &workers;
    finish(lock, enqueue());
}

void CopyQueue::download(const CopyRegion& region) {
    std::unique_lock lock(mutex_);
    add_job({&region, 1}, {}).kind = CopyJob::Kind::kDownload;
    finish(lock, enqueue());
}

void CopyQueue::run_jobs() {
    CopyJob job;
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stop_ || n_done_ < n_enqueued_; });
        if (stop_) return;
        // The slot keeps the room of the job that was done before.
        std::swap(job, ring_[n_done_ % ring_.size()]);
        lock.unlock();
        try {
            run(job);
        } catch (...) {
            carrier_.fail();  // a job that cannot be done leaves work waiting for ever
        }
        lock.lock();
        ++n_done_;
        changed_.notify_all();
    }
}

void CopyQueue::run(const CopyJob& job) {
    for (const Timeline timeline : {Timeline::kCompute, Timeline::kCopy, Timeline::kHostSignals})
        if (const std::uint64_t value = job.waits[static_cast<std::size_t>(timeline)]; value > 0)
            if (!carrier_.wait_for(timeline, value, stop_)) return;
    carrier_.carry(job, stop_);
}

}  // namespace lfm
