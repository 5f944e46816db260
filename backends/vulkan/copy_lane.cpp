#include "backends/vulkan/copy_lane.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::size_t kJobs = 64;       // room before the ring grows
constexpr std::size_t kTransfers = 16;  // of one job, likewise

}  // namespace

CopyLane::CopyLane(Gpu& gpu, Memory& memory, Timelines& timelines)
    : gpu_(gpu), memory_(memory), timelines_(timelines), imports_(gpu), ring_(kJobs) {
    for (Job& job : ring_) job.transfers.reserve(kTransfers);
    if (!memory.direct()) staging_ = std::make_unique<Staging>(gpu, memory, imports_, stop_);
    thread_ = std::thread([this] { run_jobs(); });
}

CopyLane::~CopyLane() { stop(); }

void CopyLane::stop() noexcept {
    {
        const std::lock_guard lock(mutex_);
        stop_.store(true, std::memory_order_release);
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

CopyLane::Job& CopyLane::add_job(std::span<const Point> waits) {
    if (n_enqueued_ - n_done_ == ring_.size()) {
        std::vector<Job> larger(2 * ring_.size());
        for (std::uint64_t i = n_done_; i < n_enqueued_; ++i)
            larger[i % larger.size()] = std::move(ring_[i % ring_.size()]);
        ring_ = std::move(larger);
    }
    Job& job = ring_[n_enqueued_ % ring_.size()];
    job.kind = Kind::kUpload;
    job.point = 0;
    job.workers = nullptr;
    job.transfers.clear();
    job.waits = {};
    for (const Point& wait : waits) {
        std::uint64_t& value = job.waits[static_cast<std::size_t>(wait.timeline)];
        value = std::max(value, wait.value);
    }
    return job;
}

std::uint64_t CopyLane::enqueue() {
    changed_.notify_all();
    return ++n_enqueued_;
}

void CopyLane::add_uploads(Job& job, std::span<const CopyRegion> regions) const {
    for (const CopyRegion& region : regions)
        if (region.size > 0)
            job.transfers.push_back({memory_.part(region.to, region.size), region.from, nullptr, region.size});
}

void CopyLane::finish(std::unique_lock<std::mutex>& lock, std::uint64_t job) {
    changed_.wait(lock, [&] { return n_done_ >= job || stop_; });
    lock.unlock();
    gpu_.health().require_alive();
}

Point CopyLane::copy(std::span<const CopyRegion> regions, std::span<const Point> waits) {
    const std::lock_guard lock(mutex_);
    Job& job = add_job(waits);
    add_uploads(job, regions);
    job.point = timelines_.advance(Timeline::kCopy);
    enqueue();
    return {Timeline::kCopy, job.point};
}

void CopyLane::upload(std::span<const CopyRegion> regions, const Workers& workers) {
    if (staging_ == nullptr) {
        HostCopies copies;
        for (const CopyRegion& region : regions)
            if (region.size > 0) copies.add(memory_.part(region.to, region.size).host, region.from, region.size);
        copies.run(&workers);
        return;
    }
    std::unique_lock lock(mutex_);
    Job& job = add_job({});
    add_uploads(job, regions);
    job.workers = &workers;
    finish(lock, enqueue());
}

void CopyLane::download(std::span<std::byte> to, const std::byte* from) {
    const BufferPart part = memory_.part(from, to.size());
    if (to.empty()) return;
    if (staging_ == nullptr) {
        std::memcpy(to.data(), part.host, to.size());
        return;
    }
    std::unique_lock lock(mutex_);
    Job& job = add_job({});
    job.kind = Kind::kDownload;
    job.transfers.push_back({part, nullptr, to.data(), to.size()});
    finish(lock, enqueue());
}

std::optional<Staging::Signal> CopyLane::uploaded() const {
    if (staging_ == nullptr) return std::nullopt;
    return staging_->last();
}

void CopyLane::run_jobs() {
    Job job;
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
            gpu_.health().fail();  // a job that cannot be done leaves work waiting for ever
        }
        lock.lock();
        ++n_done_;
        changed_.notify_all();
    }
}

void CopyLane::run(const Job& job) {
    for (const Timeline timeline : {Timeline::kCompute, Timeline::kCopy, Timeline::kHostSignals})
        if (const std::uint64_t value = job.waits[static_cast<std::size_t>(timeline)]; value > 0)
            if (!timelines_.of(timeline).wait(value, stop_)) return;
    carry(job);
}

void CopyLane::carry(const Job& job) {
    TimelineSemaphore& copy = timelines_.of(Timeline::kCopy);
    if (staging_ == nullptr) {
        for (const Transfer& part : job.transfers) std::memcpy(part.device.host, part.from, part.size);
        if (job.point > 0) copy.signal(job.point);
        return;
    }
    if (job.kind == Kind::kDownload) {
        const std::uint64_t computed = timelines_.of(Timeline::kCompute).value();
        return staging_->download(job.transfers, {timelines_.of(Timeline::kCompute).handle(), computed});
    }
    if (job.point > 0 && gpu_.facts().copy) {
        staging_->upload(job.transfers, Staging::Signal{copy.handle(), job.point}, job.workers);
        return;  // the next job fills one buffer while the device empties the other
    }
    staging_->upload(job.transfers, std::nullopt, job.workers);
    staging_->finish();
    // On the queue that computes the host signals: at the end it must be able to open the timeline past it.
    if (job.point > 0 && !stop_) copy.signal(job.point);
}

}  // namespace lfm::vulkan
