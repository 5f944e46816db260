// The copy lane: a thread that copies in order, each job when what it waits for is reached. It waits on the host's
// side, so that a copy of the host's own needs no queue of the device.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "backends/device.h"
#include "backends/vulkan/host_imports.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/staging.h"
#include "backends/vulkan/timelines.h"

namespace lfm::vulkan {

class CopyLane {
public:
    CopyLane(Gpu& gpu, Memory& memory, Timelines& timelines);
    CopyLane(const CopyLane&) = delete;
    CopyLane& operator=(const CopyLane&) = delete;
    ~CopyLane();

    /// As Device::copy. Throws Error{kUsage} for addresses outside the device's blocks.
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits);
    /// As Device's; both block.
    void upload(std::span<const CopyRegion> regions, const Workers& workers);
    void download(std::span<std::byte> to, const std::byte* from);
    /// Memory that later copies read without staging; only where they have any.
    HostImports& imports() { return imports_; }
    bool registers_memory() const { return staging_ != nullptr && gpu_.facts().import_alignment > 0; }
    /// Ends the thread; what it had not begun stays undone.
    void stop() noexcept;
    /// What work on the device must wait for to see uploads; nothing where the host writes itself.
    std::optional<Staging::Signal> uploaded() const;

private:
    enum class Kind : std::uint8_t { kUpload, kDownload };
    struct Job {
        Kind kind = Kind::kUpload;
        std::vector<Transfer> transfers;
        std::array<std::uint64_t, kTimelines> waits{};
        std::uint64_t point = 0;           // of the copy timeline; 0: none
        const Workers* workers = nullptr;  // null: the lane's thread alone
    };

    /// The next job, empty.
    Job& add_job(std::span<const Point> waits);
    /// Lets the thread take it; its number, from 1.
    std::uint64_t enqueue();
    void add_uploads(Job& job, std::span<const CopyRegion> regions) const;
    /// Blocks until the job is done.
    void finish(std::unique_lock<std::mutex>& lock, std::uint64_t job);
    void run_jobs();
    void run(const Job& job);
    void carry(const Job& job);

    Gpu& gpu_;
    Memory& memory_;
    Timelines& timelines_;
    std::atomic<bool> stop_ = false;
    HostImports imports_;
    std::unique_ptr<Staging> staging_;  // null: the host writes and reads device memory itself

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Job> ring_;
    std::uint64_t n_enqueued_ = 0, n_done_ = 0;
    std::thread thread_;
};

}  // namespace lfm::vulkan
