// The three timelines as semaphores: who has reached which point.
#pragma once

#include <volk.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "backends/device.h"
#include "backends/vulkan/gpu.h"

namespace lfm::vulkan {

enum class Signaller : std::uint8_t { kDevice, kHost };

/// A semaphore whose value only rises. Threads wait for the host's signals without asking the driver.
class TimelineSemaphore {
public:
    TimelineSemaphore(Gpu& gpu, Signaller signaller);
    TimelineSemaphore(const TimelineSemaphore&) = delete;
    TimelineSemaphore& operator=(const TimelineSemaphore&) = delete;
    ~TimelineSemaphore();

    VkSemaphore handle() const { return handle_; }
    /// Throws Error{kDeviceLost}.
    std::uint64_t value();
    /// Blocks until the value is reached; false when `stop` became true first. Throws Error{kDeviceLost}.
    bool wait(std::uint64_t value, const std::atomic<bool>& stop);
    void wait(std::uint64_t value) { wait(value, never_); }
    /// From the host. Throws Error{kDeviceLost}.
    void signal(std::uint64_t value);

private:
    /// Both wait for a while and return whether the value is reached.
    bool wait_for_host(std::uint64_t value);
    bool wait_for_device(std::uint64_t value);

    const std::atomic<bool> never_ = false;
    Gpu& gpu_;
    Signaller signaller_;
    VkSemaphore handle_ = VK_NULL_HANDLE;
    std::mutex mutex_;
    std::condition_variable risen_;
    std::uint64_t signalled_ = 0;  // by the host
};

class Timelines {
public:
    Timelines(Gpu& gpu, Signaller of_copies)
        : semaphores_{TimelineSemaphore(gpu, Signaller::kDevice), TimelineSemaphore(gpu, of_copies),
                      TimelineSemaphore(gpu, Signaller::kHost)} {}

    TimelineSemaphore& of(Timeline timeline) { return semaphores_[static_cast<std::size_t>(timeline)]; }
    std::uint64_t last(Timeline timeline) const { return slot(timeline).load(std::memory_order_acquire); }
    /// Takes the timeline's next point; one thread at a time for each timeline.
    std::uint64_t advance(Timeline timeline) {
        return last_[static_cast<std::size_t>(timeline)].fetch_add(1, std::memory_order_acq_rel) + 1;
    }
    /// Whether everything up to the last point is reached.
    bool settled(Timeline timeline) { return of(timeline).value() >= last(timeline); }
    /// Signals the host's next point.
    void signal_host();
    /// For the destructor: signals a value far beyond every point that is waited for. The device must not signal the
    /// timeline afterwards.
    void open(Timeline timeline) noexcept;

private:
    const std::atomic<std::uint64_t>& slot(Timeline timeline) const {
        return last_[static_cast<std::size_t>(timeline)];
    }

    std::array<TimelineSemaphore, kTimelines> semaphores_;
    std::array<std::atomic<std::uint64_t>, kTimelines> last_{};
    std::mutex host_mutex_;
};

}  // namespace lfm::vulkan
