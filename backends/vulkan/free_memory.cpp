#include "backends/vulkan/free_memory.h"

#include <algorithm>

namespace lfm::vulkan {

std::optional<std::int64_t> left_in_heap(const GpuFacts& facts, std::uint32_t heap) {
    if (!facts.tells_free) return std::nullopt;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT told{.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                          .pNext = &told};
    vkGetPhysicalDeviceMemoryProperties2(facts.handle, &all);
    if (told.heapBudget[heap] == 0) return std::nullopt;  // never so for a heap: the driver does not tell after all
    return static_cast<std::int64_t>(told.heapBudget[heap]) - static_cast<std::int64_t>(told.heapUsage[heap]);
}

FreeMemoryPoll::FreeMemoryPoll(const GpuFacts& facts, std::uint32_t heap) : facts_(facts), heap_(heap) {
    using Clock = std::chrono::steady_clock;
    if (!left_in_heap(facts, heap)) return;
    auto shortest = Clock::duration::max();  // whatever else runs on this machine
    for (int i = 0; i < 3; ++i) {
        const auto begin = Clock::now();
        left_in_heap(facts, heap);
        shortest = std::min(shortest, Clock::now() - begin);
    }
    const auto steps = (shortest + kPerStep - std::chrono::nanoseconds(1)) / kPerStep;
    every_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(steps, 1, kMostSteps));
}

std::optional<std::int64_t> FreeMemoryPoll::step() {
    if (every_ == 0 || steps_++ % every_ != 0) return std::nullopt;
    return left_in_heap(facts_, heap_);
}

}  // namespace lfm::vulkan
