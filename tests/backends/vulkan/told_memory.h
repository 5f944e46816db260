// Makes a driver report how much of its memory is left, also where the real one does not: the answers here replace the
// driver's. Counts what is allocated, and adds what others are said to hold.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "memory/units.h"
#include "tests/backends/vulkan/replaced_call.h"

namespace lfm::test {

/// One at a time, made after list_devices() has loaded the driver's functions. Close devices before destroying it.
class ToldMemory {
public:
    explicit ToldMemory(Bytes all)
        : extensions_(vkEnumerateDeviceExtensionProperties, list_extensions),
          properties_(vkGetPhysicalDeviceMemoryProperties2, tell),
          allocations_(vkAllocateMemory, allocate),
          frees_(vkFreeMemory, free) {
        state() = {.real_extensions = extensions_.real(),
                   .real_tell = properties_.real(),
                   .real_allocate = allocations_.real(),
                   .real_free = frees_.real(),
                   .all = all.value};
    }

    /// From now on; may be more than there is.
    void others_hold(Bytes bytes) {
        const std::lock_guard lock(mutex());
        state().others = bytes.value;
    }
    Bytes held() const {
        const std::lock_guard lock(mutex());
        return {state().held};
    }
    std::uint64_t n_questions() const {
        const std::lock_guard lock(mutex());
        return state().n_questions;
    }

private:
    // Functions that replace the driver's can capture nothing: their state is static.
    struct State {
        PFN_vkEnumerateDeviceExtensionProperties real_extensions = nullptr;
        PFN_vkGetPhysicalDeviceMemoryProperties2 real_tell = nullptr;
        PFN_vkAllocateMemory real_allocate = nullptr;
        PFN_vkFreeMemory real_free = nullptr;
        std::uint64_t all = 0, others = 0, held = 0, n_questions = 0;
        std::map<VkDeviceMemory, std::uint64_t> sizes = {};
    };
    static State& state() {
        static State the_state;
        return the_state;
    }
    static std::mutex& mutex() {
        static std::mutex the_mutex;
        return the_mutex;
    }

    static VkResult list_extensions(VkPhysicalDevice device, const char* layer, std::uint32_t* n,
                                    VkExtensionProperties* extensions) {
        std::uint32_t n_real = 0;
        state().real_extensions(device, layer, &n_real, nullptr);
        if (extensions == nullptr) {
            *n = n_real + 1;
            return VK_SUCCESS;
        }
        std::vector<VkExtensionProperties> all(n_real + 1);
        state().real_extensions(device, layer, &n_real, all.data());
        std::strcpy(all[n_real].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
        if (*n > n_real + 1) *n = n_real + 1;
        std::copy_n(all.begin(), *n, extensions);
        return VK_SUCCESS;
    }

    static void tell(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2* properties) {
        auto* told = static_cast<VkPhysicalDeviceMemoryBudgetPropertiesEXT*>(properties->pNext);
        properties->pNext = nullptr;
        state().real_tell(device, properties);
        properties->pNext = told;
        if (told == nullptr || told->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) return;
        const std::lock_guard lock(mutex());
        ++state().n_questions;
        for (std::uint32_t i = 0; i < properties->memoryProperties.memoryHeapCount; ++i) {
            told->heapBudget[i] = state().others >= state().all ? 1 : state().all - state().others;
            told->heapUsage[i] = state().held;
        }
    }

    static VkResult allocate(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                             VkDeviceMemory* memory) {
        const VkResult result = state().real_allocate(device, info, callbacks, memory);
        if (result != VK_SUCCESS || imports_memory(*info)) return result;
        const std::lock_guard lock(mutex());
        state().sizes[*memory] = info->allocationSize;
        state().held += info->allocationSize;
        return result;
    }
    static void free(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* callbacks) {
        {
            const std::lock_guard lock(mutex());
            if (const auto found = state().sizes.find(memory); found != state().sizes.end()) {
                state().held -= found->second;
                state().sizes.erase(found);
            }
        }
        state().real_free(device, memory, callbacks);
    }

    ReplacedCall<PFN_vkEnumerateDeviceExtensionProperties> extensions_;
    ReplacedCall<PFN_vkGetPhysicalDeviceMemoryProperties2> properties_;
    ReplacedCall<PFN_vkAllocateMemory> allocations_;
    ReplacedCall<PFN_vkFreeMemory> frees_;
};

}  // namespace lfm::test
