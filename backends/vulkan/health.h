// How the driver's results become errors: which mean a lack of memory, and which the loss of the device.
#pragma once

#include <volk.h>

#include <string>
#include <string_view>

#include "backends/device/device_health.h"
#include "memory/error.h"

namespace lfm::vulkan {

inline std::string said(std::string_view call, VkResult result) {
    return std::string(call) + ": expected success, found VkResult " + std::to_string(result);
}

class Health : public DeviceHealth {
public:
    Health() : DeviceHealth("Vulkan device") {}
    /// For calls that hand work to the device or wait for it: whatever they refuse, the device's state is unknown
    /// after, so any failure counts as its loss. Throws Error{kDeviceLost}.
    void check(VkResult result, std::string_view call) {
        if (result < VK_SUCCESS) fail(said(call, result));
    }
};

/// For calls that create something. Throws Error{kShortfall} for a lack of memory, Error{kDeviceLost}, or
/// Error{kUsage} for any other refusal.
inline void require_created(VkResult result, std::string_view call) {
    if (result == VK_SUCCESS) return;
    const auto code = result == VK_ERROR_DEVICE_LOST ? ErrorCode::kDeviceLost
                      : result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY
                          ? ErrorCode::kShortfall
                          : ErrorCode::kUsage;
    throw Error(code, "Vulkan device", said(call, result));
}

}  // namespace lfm::vulkan
