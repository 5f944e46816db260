#include "backends/vulkan/host_imports.h"

#include <algorithm>
#include <optional>

namespace lfm::vulkan {
namespace {

constexpr VkExternalMemoryHandleTypeFlagBits kHostMemory = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;

/// What the host wrote must be seen without a flush.
std::optional<std::uint32_t> coherent_type(const VkPhysicalDeviceMemoryProperties& memory, std::uint32_t allowed) {
    for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i)
        if ((allowed >> i & 1) != 0 &&
            (memory.memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0)
            return i;
    return std::nullopt;
}

}  // namespace

HostImports::~HostImports() {
    for (const auto& [begin, chunk] : chunks_) destroy(chunk);
    for (const Chunk& chunk : left_in_use_) destroy(chunk);
}

HostImports::Added HostImports::add(std::span<const std::byte> memory) {
    const std::lock_guard lock(mutex_);
    Added added{++n_handles_, {}};
    const std::uintptr_t alignment = gpu_.facts().import_alignment;
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
    const std::uintptr_t end = (begin + memory.size()) / alignment * alignment;
    const auto largest = std::min<std::uintptr_t>(kLargestChunk, gpu_.facts().largest_block.value);
    for (std::uintptr_t at = (begin + alignment - 1) / alignment * alignment; at < end;) {
        const std::uintptr_t n = std::min(end - at, largest / alignment * alignment);
        Chunk chunk{.size = n, .handle = added.handle};
        const auto* from = reinterpret_cast<const std::byte*>(at);
        if (n > 0 && !chunks_.contains(from) && import(chunk, from)) {
            chunks_.emplace(from, chunk);
            added.bytes += Bytes{n};
        } else {
            destroy(chunk);
        }
        if (n == 0) break;
        at += n;
    }
    return added;
}

bool HostImports::import(Chunk& chunk, const std::byte* memory) const {
    void* const pointer = const_cast<std::byte*>(memory);  // copies only read
    VkMemoryHostPointerPropertiesEXT properties{.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
    if (vkGetMemoryHostPointerPropertiesEXT(gpu_.handle(), kHostMemory, pointer, &properties) != VK_SUCCESS)
        return false;
    const VkExternalMemoryBufferCreateInfo external{.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
                                                    .handleTypes = kHostMemory};
    const VkBufferCreateInfo buffer{.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                    .pNext = &external,
                                    .size = chunk.size,
                                    .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                    .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    if (vkCreateBuffer(gpu_.handle(), &buffer, nullptr, &chunk.buffer) != VK_SUCCESS) return false;
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(gpu_.handle(), chunk.buffer, &needs);
    const auto type = coherent_type(gpu_.facts().memory, needs.memoryTypeBits & properties.memoryTypeBits);
    if (!type || needs.size > chunk.size) return false;
    const VkImportMemoryHostPointerInfoEXT import{.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
                                                  .handleType = kHostMemory,
                                                  .pHostPointer = pointer};
    const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                    .pNext = &import,
                                    .allocationSize = chunk.size,
                                    .memoryTypeIndex = *type};
    return vkAllocateMemory(gpu_.handle(), &info, nullptr, &chunk.memory) == VK_SUCCESS &&
           vkBindBufferMemory(gpu_.handle(), chunk.buffer, chunk.memory, 0) == VK_SUCCESS;
}

void HostImports::destroy(const Chunk& chunk) const noexcept {
    vkDestroyBuffer(gpu_.handle(), chunk.buffer, nullptr);
    vkFreeMemory(gpu_.handle(), chunk.memory, nullptr);
}

void HostImports::remove(std::uint64_t handle, bool in_use) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
        if (chunk->second.handle != handle) {
            ++chunk;
            continue;
        }
        if (in_use)
            left_in_use_.push_back(chunk->second);
        else
            destroy(chunk->second);
        chunk = chunks_.erase(chunk);
    }
}

HostImports::Part HostImports::find(const std::byte* memory, std::size_t size) const {
    const std::lock_guard lock(mutex_);
    const auto next = chunks_.upper_bound(memory);
    if (next != chunks_.begin()) {
        const auto& [begin, chunk] = *std::prev(next);
        const auto offset = static_cast<std::size_t>(memory - begin);
        if (offset < chunk.size) return {chunk.buffer, offset, std::min(size, chunk.size - offset)};
    }
    const std::size_t before_next = next != chunks_.end() ? static_cast<std::size_t>(next->first - memory) : size;
    return {VK_NULL_HANDLE, 0, std::min(size, before_next)};
}

}  // namespace lfm::vulkan
