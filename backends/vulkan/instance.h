// The driver's library and an instance of it, with the validation layer when asked for.
#pragma once

#include <volk.h>

#include <functional>
#include <string_view>
#include <vector>

#include "backends/vulkan/vulkan_device.h"

namespace lfm::vulkan {

class Instance {
public:
    using Report = std::function<void(std::string_view)>;

    /// Throws Error{kUsage} when there is no driver, or no validation layer though one is asked for.
    Instance(Validation validation, Report report);
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;
    ~Instance();

    std::vector<VkPhysicalDevice> devices() const;

private:
    Report report_;
    VkInstance handle_ = VK_NULL_HANDLE;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
};

}  // namespace lfm::vulkan
