#include "backends/vulkan/gpu.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

/// Features in the chain that Vulkan wants; filled by the driver, or naming what to enable.
struct Features {
    VkPhysicalDeviceVulkan11Features v11{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
    VkPhysicalDeviceVulkan12Features v12{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v11};
    VkPhysicalDeviceFeatures2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v12};

    Features() = default;
    Features(const Features&) = delete;
    Features& operator=(const Features&) = delete;
};

/// What shaders and timelines need, by Vulkan's names.
struct Need {
    std::string_view name;
    VkBool32& (*of)(Features&);
};
constexpr Need kNeeds[] = {
    {"bufferDeviceAddress", [](Features& f) -> VkBool32& { return f.v12.bufferDeviceAddress; }},
    {"timelineSemaphore", [](Features& f) -> VkBool32& { return f.v12.timelineSemaphore; }},
    {"storageBuffer8BitAccess", [](Features& f) -> VkBool32& { return f.v12.storageBuffer8BitAccess; }},
    {"storageBuffer16BitAccess", [](Features& f) -> VkBool32& { return f.v11.storageBuffer16BitAccess; }},
    {"shaderInt8", [](Features& f) -> VkBool32& { return f.v12.shaderInt8; }},
    {"shaderInt64", [](Features& f) -> VkBool32& { return f.all.features.shaderInt64; }},
};

GpuKind kind_of(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return GpuKind::kDiscrete;
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return GpuKind::kIntegrated;
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return GpuKind::kVirtual;
        case VK_PHYSICAL_DEVICE_TYPE_CPU: return GpuKind::kCpu;
        default: return GpuKind::kOther;
    }
}

bool has_extension(VkPhysicalDevice device, std::string_view name) {
    std::uint32_t n = 0;
    vkEnumerateDeviceExtensionProperties(device, nullptr, &n, nullptr);
    std::vector<VkExtensionProperties> extensions(n);
    vkEnumerateDeviceExtensionProperties(device, nullptr, &n, extensions.data());
    return std::ranges::any_of(extensions, [name](const auto& extension) { return name == extension.extensionName; });
}

/// Computing: the first family that can. Copying: a family that only copies, else any other, else a second queue.
bool choose_queues(GpuFacts& facts) {
    std::uint32_t n = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(facts.handle, &n, nullptr);
    std::vector<VkQueueFamilyProperties> families(n);
    vkGetPhysicalDeviceQueueFamilyProperties(facts.handle, &n, families.data());
    const auto first = std::ranges::find_if(
        families, [](const auto& family) { return (family.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0; });
    if (first == families.end()) return false;
    facts.compute = {static_cast<std::uint32_t>(first - families.begin()), 0};

    constexpr VkQueueFlags kWorks = VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT;
    std::optional<std::uint32_t> other;
    for (std::uint32_t i = 0; i < n; ++i) {
        // Families that compute or draw can copy too, whether or not they set the flag for it.
        if (i == facts.compute.family || (families[i].queueFlags & (kWorks | VK_QUEUE_TRANSFER_BIT)) == 0) continue;
        if (!other || (families[i].queueFlags & kWorks) == 0) other = i;
    }
    if (other)
        facts.copy = QueuePlace{*other, 0};
    else if (first->queueCount > 1)
        facts.copy = QueuePlace{facts.compute.family, 1};
    return true;
}

Bytes own_memory(const GpuFacts& facts) {
    Bytes sum;
    for (const VkMemoryHeap& heap : std::span(facts.memory.memoryHeaps).first(facts.memory.memoryHeapCount))
        if ((heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0) sum += Bytes{heap.size};
    return sum;
}

/// Whether buffers that are copied from can lie in host memory.
bool imports_host_memory(VkPhysicalDevice device) {
    if (!has_extension(device, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) return false;
    const VkPhysicalDeviceExternalBufferInfo info{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
                                                  .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                                  .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT};
    VkExternalBufferProperties found{.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    vkGetPhysicalDeviceExternalBufferProperties(device, &info, &found);
    constexpr VkExternalMemoryFeatureFlags kKinds =
        VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT;
    return (found.externalMemoryProperties.externalMemoryFeatures & kKinds) ==
           VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

void read_limits(GpuFacts& facts, std::string& missing) {
    VkPhysicalDeviceMaintenance4Properties buffers{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES,
                                                   .maxBufferSize = ~VkDeviceSize{0}};
    VkPhysicalDeviceVulkan11Properties v11{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
                                           .pNext = &v11};
    if (has_extension(facts.handle, VK_KHR_MAINTENANCE_4_EXTENSION_NAME)) v11.pNext = &buffers;
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT imports{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT, .pNext = v11.pNext};
    if (imports_host_memory(facts.handle)) v11.pNext = &imports;
    VkPhysicalDeviceProperties2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v12};
    vkGetPhysicalDeviceProperties2(facts.handle, &all);

    facts.info.driver = std::string(v12.driverName) + " " + v12.driverInfo;
    facts.subgroup_size = v11.subgroupSize;
    facts.shared_memory = all.properties.limits.maxComputeSharedMemorySize;
    // Leaves room for the spare bytes that memory.cpp adds, and for drivers that round sizes up.
    const VkDeviceSize largest = std::min(v11.maxMemoryAllocationSize, buffers.maxBufferSize);
    facts.largest_block = Bytes{largest - std::min<VkDeviceSize>(largest, 1 << 16)};
    facts.import_alignment = imports.minImportedHostPointerAlignment;
    // To ask for it the extension need not be enabled.
    facts.tells_free = has_extension(facts.handle, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);

    constexpr VkSubgroupFeatureFlags kGroups = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    if ((v11.subgroupSupportedOperations & kGroups) != kGroups ||
        (v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0)
        missing += " basic and arithmetic subgroup operations;";
    if (v11.subgroupSize < 8 || v11.subgroupSize > 128) missing += " subgroups of 8 to 128;";
    if (all.properties.limits.maxComputeWorkGroupInvocations < 256) missing += " groups of 256;";
    if (facts.shared_memory < 32768) missing += " 32 KiB of shared memory;";
}

}  // namespace

GpuFacts read_facts(VkPhysicalDevice device, std::uint32_t index) {
    GpuFacts facts{.handle = device};
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(device, &properties);
    vkGetPhysicalDeviceMemoryProperties(device, &facts.memory);
    facts.info = {.index = index,
                  .name = properties.deviceName,
                  .kind = kind_of(properties.deviceType),
                  .memory = own_memory(facts)};
    std::string missing;
    if (properties.apiVersion < VK_API_VERSION_1_2) {
        missing = " Vulkan 1.2;";
    } else {
        Features offered;
        vkGetPhysicalDeviceFeatures2(device, &offered.all);
        for (const Need& need : kNeeds)
            if (need.of(offered) == VK_FALSE) missing.append(" ").append(need.name).append(";");
        read_limits(facts, missing);
    }
    if (!choose_queues(facts)) missing += " a queue that computes;";
    if (!missing.empty()) facts.info.why_unusable = "lacks" + missing.substr(0, missing.size() - 1);
    return facts;
}

Gpu::Gpu(const GpuFacts& facts) : facts_(facts) {
    if (!facts.info.why_unusable.empty())
        throw Error(ErrorCode::kUsage, facts.info.name,
                    "expected a device with all that is needed, found one that " + facts.info.why_unusable);
    Features wanted;
    for (const Need& need : kNeeds) need.of(wanted) = VK_TRUE;

    const float priorities[] = {1.0f, 0.5f};
    std::vector<VkDeviceQueueCreateInfo> queues{{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                                 .queueFamilyIndex = facts.compute.family,
                                                 .queueCount = 1,
                                                 .pQueuePriorities = priorities}};
    if (facts.copy && facts.copy->family == facts.compute.family) {
        queues[0].queueCount = 2;
    } else if (facts.copy) {
        queues.push_back(queues[0]);
        queues[1].queueFamilyIndex = facts.copy->family;
    }
    const char* const imports = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    const VkDeviceCreateInfo info{.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                  .pNext = &wanted.all,
                                  .queueCreateInfoCount = static_cast<std::uint32_t>(queues.size()),
                                  .pQueueCreateInfos = queues.data(),
                                  .enabledExtensionCount = facts.import_alignment > 0 ? 1u : 0u,
                                  .ppEnabledExtensionNames = &imports};
    require_created(vkCreateDevice(facts.handle, &info, nullptr, &handle_), "vkCreateDevice");
    vkGetDeviceQueue(handle_, facts.compute.family, facts.compute.index, &compute_);
    if (facts.copy) vkGetDeviceQueue(handle_, facts.copy->family, facts.copy->index, &copy_);
}

Gpu::~Gpu() { vkDestroyDevice(handle_, nullptr); }

void Gpu::submit_compute(std::span<const VkSubmitInfo> batches) {
    const std::lock_guard lock(compute_mutex_);
    health_.check(vkQueueSubmit(compute_, static_cast<std::uint32_t>(batches.size()), batches.data(), VK_NULL_HANDLE),
                  "vkQueueSubmit");
}

void Gpu::submit_copy(const VkSubmitInfo& batch) {
    if (copy_ == VK_NULL_HANDLE) return submit_compute({&batch, 1});
    const std::lock_guard lock(copy_mutex_);
    health_.check(vkQueueSubmit(copy_, 1, &batch, VK_NULL_HANDLE), "vkQueueSubmit");
}

void Gpu::drain_copies() noexcept {
    const std::lock_guard lock(copy_mutex_);
    if (copy_ != VK_NULL_HANDLE) vkQueueWaitIdle(copy_);
}

}  // namespace lfm::vulkan
