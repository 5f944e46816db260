// Whether the device still works. Once it failed it is not used again.
#pragma once

#include <volk.h>

#include <atomic>
#include <string>
#include <string_view>

#include "memory/error.h"

namespace lfm::vulkan {

class Health {
public:
    bool lost() const { return lost_.load(std::memory_order_acquire); }
    void require_alive() const {
        if (lost()) throw Error(ErrorCode::kDeviceLost, "Vulkan device", "expected a working device, found it lost");
    }
    void fail() { lost_.store(true, std::memory_order_release); }
    /// For calls that hand work to the device or wait for it: whatever they refuse, the device's state is unknown
    /// after, so any failure counts as its loss.
    void check(VkResult result, std::string_view call) {
        if (result >= VK_SUCCESS) return;
        fail();
        throw Error(ErrorCode::kDeviceLost, "Vulkan device",
                    std::string(call) + ": expected success, found VkResult " + std::to_string(result));
    }

private:
    std::atomic<bool> lost_ = false;
};

/// For calls that create something: a refusal is a lack of memory.
inline void require_created(VkResult result, std::string_view call) {
    if (result == VK_SUCCESS) return;
    const auto code = result == VK_ERROR_DEVICE_LOST ? ErrorCode::kDeviceLost
                      : result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY
                          ? ErrorCode::kShortfall
                          : ErrorCode::kUsage;
    throw Error(code, "Vulkan device",
                std::string(call) + ": expected success, found VkResult " + std::to_string(result));
}

}  // namespace lfm::vulkan
