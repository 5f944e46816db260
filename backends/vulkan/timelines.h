// The three timelines as semaphores: who has reached which point.
#pragma once

#include <volk.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "backends/device.h"
#include "backends/vulkan/gpu.h"

namespace lfm::vulkan {

/// A semaphore whose value only rises.
class TimelineSemaphore {
public:
    explicit TimelineSemaphore(Gpu& gpu);
    TimelineSemaphore(const TimelineSemaphore&) = delete;
    TimelineSemaphore& operator=(const TimelineSemaphore&) = delete;
    ~TimelineSemaphore();

    VkSemaphore handle() const { return handle_; }
    std::uint64_t value();
    /// Blocks until the value is reached; false when `stop` became true first. Throws Error{kDeviceLost}.
    bool wait(std::uint64_t value, const std::atomic<bool>& stop);
    void wait(std::uint64_t value) { wait(value, never_); }
    /// From the host. Throws Error{kDeviceLost}.
    void signal(std::uint64_t value);

private:
    const std::atomic<bool> never_ = false;
    Gpu& gpu_;
    VkSemaphore handle_ = VK_NULL_HANDLE;
};

class Timelines {
public:
    explicit Timelines(Gpu& gpu) : semaphores_{TimelineSemaphore(gpu), TimelineSemaphore(gpu), TimelineSemaphore(gpu)} {}

    TimelineSemaphore& of(Timeline timeline) { return semaphores_[static_cast<std::size_t>(timeline)]; }
    std::uint64_t last(Timeline timeline) const { return slot(timeline).load(std::memory_order_acquire); }
    /// The next point of a lane; one thread at a time for each.
    std::uint64_t advance(Timeline timeline) {
        return last_[static_cast<std::size_t>(timeline)].fetch_add(1, std::memory_order_acq_rel) + 1;
    }
    /// Whether everything up to the last point is reached.
    bool settled(Timeline timeline) { return of(timeline).value() >= last(timeline); }
    /// The host's next point.
    void signal_host();
    /// For the end: reaches far beyond every point anyone may wait for. Signals of the device must not follow.
    void open(Timeline timeline) noexcept;

private:
    const std::atomic<std::uint64_t>& slot(Timeline timeline) const { return last_[static_cast<std::size_t>(timeline)]; }

    std::array<TimelineSemaphore, kTimelines> semaphores_;
    std::array<std::atomic<std::uint64_t>, kTimelines> last_{};
    std::mutex host_mutex_;
};

}  // namespace lfm::vulkan
