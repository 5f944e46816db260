#include "backends/vulkan/free_memory.h"

namespace lfm::vulkan {

std::optional<std::int64_t> left_in_heap(const GpuFacts& facts, std::uint32_t heap) {
    if (!facts.tells_free) return std::nullopt;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT told{.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                          .pNext = &told};
    vkGetPhysicalDeviceMemoryProperties2(facts.handle, &all);
    if (told.heapBudget[heap] == 0) return std::nullopt;  // a heap's budget is never 0: the driver does not tell
    return static_cast<std::int64_t>(told.heapBudget[heap]) - static_cast<std::int64_t>(told.heapUsage[heap]);
}

}  // namespace lfm::vulkan
