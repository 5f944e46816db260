#include "backends/vulkan/timelines.h"

#include <chrono>

namespace lfm::vulkan {
namespace {

// How long one wait of the driver lasts before the thread looks whether the device was lost or is to end.
constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(100);
// Less than what drivers must allow between two values of a timeline.
constexpr std::uint64_t kFar = 1u << 30;

}  // namespace

TimelineSemaphore::TimelineSemaphore(Gpu& gpu, Signaller signaller) : gpu_(gpu), signaller_(signaller) {
    const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                         .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    require_created(vkCreateSemaphore(gpu_.handle(), &info, nullptr, &handle_), "vkCreateSemaphore");
}

TimelineSemaphore::~TimelineSemaphore() { vkDestroySemaphore(gpu_.handle(), handle_, nullptr); }

std::uint64_t TimelineSemaphore::value() {
    gpu_.health().require_alive();
    if (signaller_ == Signaller::kHost) {
        const std::lock_guard lock(mutex_);
        return signalled_;
    }
    std::uint64_t value = 0;
    gpu_.health().check(vkGetSemaphoreCounterValue(gpu_.handle(), handle_, &value), "vkGetSemaphoreCounterValue");
    return value;
}

bool TimelineSemaphore::wait(std::uint64_t value, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_acquire)) {
        gpu_.health().require_alive();
        if (signaller_ == Signaller::kHost ? wait_for_host(value) : wait_for_device(value)) return true;
    }
    return false;
}

bool TimelineSemaphore::wait_for_host(std::uint64_t value) {
    std::unique_lock lock(mutex_);
    return risen_.wait_for(lock, kSlice, [&] { return signalled_ >= value; });
}

bool TimelineSemaphore::wait_for_device(std::uint64_t value) {
    const VkSemaphoreWaitInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                   .semaphoreCount = 1,
                                   .pSemaphores = &handle_,
                                   .pValues = &value};
    const VkResult result = vkWaitSemaphores(gpu_.handle(), &info, static_cast<std::uint64_t>(kSlice.count()));
    gpu_.health().check(result, "vkWaitSemaphores");
    return result == VK_SUCCESS;
}

void TimelineSemaphore::signal(std::uint64_t value) {
    const VkSemaphoreSignalInfo info{
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = handle_, .value = value};
    gpu_.health().check(vkSignalSemaphore(gpu_.handle(), &info), "vkSignalSemaphore");
    {
        const std::lock_guard lock(mutex_);
        signalled_ = value;
    }
    risen_.notify_all();
}

void Timelines::signal_host() {
    const std::lock_guard lock(host_mutex_);
    of(Timeline::kHostSignals).signal(advance(Timeline::kHostSignals));
}

void Timelines::open(Timeline timeline) noexcept {
    try {
        of(timeline).signal(last(timeline) + kFar);
    } catch (const Error&) {
        // A lost device waits for nothing.
    }
}

}  // namespace lfm::vulkan
