// volk's function pointers are defined here.
#define VOLK_IMPLEMENTATION
#include "backends/vulkan/instance.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <string>

#include "backends/vulkan/health.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

bool load_library() {
    static const bool loaded = volkInitialize() == VK_SUCCESS;
    return loaded;
}

/// Once for the process: the loader's functions serve every instance, and what a test has put in their place stays.
void load_functions(VkInstance instance) {
    static std::once_flag once;
    std::call_once(once, [instance] { volkLoadInstance(instance); });
}

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void* report) {
    (*static_cast<const Instance::Report*>(report))(data->pMessage);
    return VK_FALSE;
}

template <typename Function>
Function extension(VkInstance instance, const char* name) {
    return reinterpret_cast<Function>(vkGetInstanceProcAddr(instance, name));
}

}  // namespace

bool has_validation_layer() {
    if (!load_library()) return false;
    std::uint32_t n = 0;
    vkEnumerateInstanceLayerProperties(&n, nullptr);
    std::vector<VkLayerProperties> layers(n);
    vkEnumerateInstanceLayerProperties(&n, layers.data());
    return std::ranges::any_of(
        layers, [](const VkLayerProperties& layer) { return std::string_view(layer.layerName) == kValidationLayer; });
}

Instance::Instance(Validation validation, Report report) : report_(std::move(report)) {
    if (!load_library() || volkGetInstanceVersion() < VK_API_VERSION_1_1)
        throw Error(ErrorCode::kUsage, "Vulkan", "expected a driver library of version 1.1 or later, found none");
    const bool validates = validation != Validation::kNone;
    if (validates && !has_validation_layer())
        throw Error(ErrorCode::kUsage, "Vulkan", "expected the layer VK_LAYER_KHRONOS_validation, found none");

    const VkApplicationInfo application{
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "lfm", .apiVersion = VK_API_VERSION_1_2};
    const std::array enabled{validation == Validation::kShaders
                                 ? VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT
                                 : VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    const VkValidationFeaturesEXT features{.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                           .enabledValidationFeatureCount = enabled.size(),
                                           .pEnabledValidationFeatures = enabled.data()};
    const VkDebugUtilsMessengerCreateInfoEXT messages{
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .pNext = &features,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = &report_};
    const char* extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
    const VkInstanceCreateInfo info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                    .pNext = validates && report_ ? &messages : nullptr,
                                    .pApplicationInfo = &application,
                                    .enabledLayerCount = validates ? 1u : 0u,
                                    .ppEnabledLayerNames = &kValidationLayer,
                                    .enabledExtensionCount = validates ? 2u : 0u,
                                    .ppEnabledExtensionNames = extensions};
    const VkResult result = vkCreateInstance(&info, nullptr, &handle_);
    if (result != VK_SUCCESS)
        throw Error(ErrorCode::kUsage, "Vulkan",
                    "expected a driver that starts, found VkResult " + std::to_string(result));
    load_functions(handle_);
    if (validates && report_) {
        VkDebugUtilsMessengerCreateInfoEXT later = messages;
        later.pNext = nullptr;
        const auto create = extension<PFN_vkCreateDebugUtilsMessengerEXT>(handle_, "vkCreateDebugUtilsMessengerEXT");
        if (create != nullptr) create(handle_, &later, nullptr, &messenger_);
    }
}

Instance::~Instance() {
    if (messenger_ != VK_NULL_HANDLE)
        extension<PFN_vkDestroyDebugUtilsMessengerEXT>(handle_, "vkDestroyDebugUtilsMessengerEXT")(handle_, messenger_,
                                                                                                   nullptr);
    vkDestroyInstance(handle_, nullptr);
}

std::vector<VkPhysicalDevice> Instance::devices() const {
    std::uint32_t n = 0;
    if (vkEnumeratePhysicalDevices(handle_, &n, nullptr) < VK_SUCCESS) return {};
    std::vector<VkPhysicalDevice> devices(n);
    if (vkEnumeratePhysicalDevices(handle_, &n, devices.data()) < VK_SUCCESS) return {};
    devices.resize(n);
    return devices;
}

}  // namespace lfm::vulkan
