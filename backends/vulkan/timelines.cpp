#include "backends/vulkan/timelines.h"

namespace lfm::vulkan {
namespace {

// How long one wait of the driver lasts before the thread looks whether the device was lost or is to end.
constexpr std::uint64_t kSlice = 100'000'000;  // nanoseconds
// Less than what drivers must allow between two values of a timeline.
constexpr std::uint64_t kFar = 1u << 30;

}  // namespace

TimelineSemaphore::TimelineSemaphore(Gpu& gpu) : gpu_(gpu) {
    const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                         .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    require_created(vkCreateSemaphore(gpu_.handle(), &info, nullptr, &handle_), "vkCreateSemaphore");
}

TimelineSemaphore::~TimelineSemaphore() { vkDestroySemaphore(gpu_.handle(), handle_, nullptr); }

std::uint64_t TimelineSemaphore::value() {
    std::uint64_t value = 0;
    gpu_.health().check(vkGetSemaphoreCounterValue(gpu_.handle(), handle_, &value), "vkGetSemaphoreCounterValue");
    return value;
}

bool TimelineSemaphore::wait(std::uint64_t value, const std::atomic<bool>& stop) {
    const VkSemaphoreWaitInfo info{
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1, .pSemaphores = &handle_, .pValues = &value};
    while (!stop.load(std::memory_order_acquire)) {
        gpu_.health().require_alive();
        const VkResult result = vkWaitSemaphores(gpu_.handle(), &info, kSlice);
        gpu_.health().check(result, "vkWaitSemaphores");
        if (result == VK_SUCCESS) return true;
    }
    return false;
}

void TimelineSemaphore::signal(std::uint64_t value) {
    const VkSemaphoreSignalInfo info{
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = handle_, .value = value};
    gpu_.health().check(vkSignalSemaphore(gpu_.handle(), &info), "vkSignalSemaphore");
}

void Timelines::signal_host() {
    const std::lock_guard lock(host_mutex_);
    of(Timeline::kHost).signal(advance(Timeline::kHost));
}

void Timelines::open(Timeline timeline) noexcept {
    try {
        of(timeline).signal(last(timeline) + kFar);
    } catch (const Error&) {
        // A lost device waits for nothing.
    }
}

}  // namespace lfm::vulkan
