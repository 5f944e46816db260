// The queue of a device's copy lane, and the thread that empties it: jobs in order, each when what it waits for is
// reached. The thread waits on the host, so that a copy that the host does itself needs no queue of the device.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "backends/device.h"

namespace lfm {

struct CopyJob {
    enum class Kind : std::uint8_t { kUpload, kDownload };

    Kind kind = Kind::kUpload;
    std::vector<CopyRegion> regions;  // download: from the device, to the host
    std::array<std::uint64_t, kTimelines> waits{};
    std::uint64_t point = 0;           // of the copy timeline; 0: none
    const Workers* workers = nullptr;  // null: the lane's thread alone
};

/// The device's part of the work. Called by the lane's thread, but for require_alive.
class Carrier {
public:
    /// Blocks until the timeline reaches the value; false when `stop` became true first.
    virtual bool wait_for(Timeline timeline, std::uint64_t value, const std::atomic<bool>& stop) = 0;
    /// Hands the job's copies over, so that its point is reached when they are done; upload and download block instead.
    virtual void carry(const CopyJob& job, const std::atomic<bool>& stop) = 0;
    /// A job could not be done: the device counts as lost.
    virtual void fail() noexcept = 0;
    /// Throws Error{kDeviceLost}.
    virtual void require_alive() const = 0;

protected:
    ~Carrier() = default;
};

/// Allocates only when more jobs wait, or a job has more regions, than ever before.
class CopyQueue {
public:
    /// The thread starts at once and uses the carrier.
    explicit CopyQueue(Carrier& carrier);
    CopyQueue(const CopyQueue&) = delete;
    CopyQueue& operator=(const CopyQueue&) = delete;
    ~CopyQueue() { stop(); }

    /// `next_point` gives the point the job reaches, under the queue's lock, so that points follow the jobs' order.
    template <typename NextPoint>
    std::uint64_t copy(std::span<const CopyRegion> regions, std::span<const Point> waits, const NextPoint& next_point) {
        const std::lock_guard lock(mutex_);
        CopyJob& job = add_job(regions, waits);
        job.point = next_point();
        const std::uint64_t point = job.point;
        enqueue();
        return point;
    }
    /// Both block until it is done. Throw Error{kDeviceLost}.
    void upload(std::span<const CopyRegion> regions, const Workers& workers);
    void download(const CopyRegion& region);
    /// Ends the thread; what it had not begun stays undone.
    void stop() noexcept;

private:
    /// The next job: an upload of these regions, but for empty ones.
    CopyJob& add_job(std::span<const CopyRegion> regions, std::span<const Point> waits);
    /// Lets the thread take it; its number, from 1.
    std::uint64_t enqueue();
    /// Blocks until the job is done.
    void finish(std::unique_lock<std::mutex>& lock, std::uint64_t job);
    void run_jobs();
    void run(const CopyJob& job);

    Carrier& carrier_;
    std::atomic<bool> stop_ = false;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<CopyJob> ring_;
    std::uint64_t n_enqueued_ = 0, n_done_ = 0;
    std::thread thread_;
};

}  // namespace lfm
