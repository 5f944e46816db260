#include "backends/vulkan/memory.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::size_t kAlignment = 256;
static_assert(Memory::kSpare == kAlignment);  // drivers' addresses are multiples of 16: so many bytes remain

constexpr VkMemoryPropertyFlags kOwn = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kMapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

std::string where_of(Purpose purpose) { return "device memory (" + std::string(purpose_name(purpose)) + ")"; }

bool shares_host_memory(GpuKind kind) { return kind == GpuKind::kIntegrated || kind == GpuKind::kCpu; }

}  // namespace

Memory::~Memory() {
    for (auto& [address, block] : blocks_) destroy(block);
}

std::optional<std::uint32_t> Memory::type_for(const GpuFacts& facts, MemoryUse use, std::uint32_t allowed) {
    // Best first; the last of each is what every driver has.
    using Wishes = std::array<VkMemoryPropertyFlags, 4>;
    const bool shares = shares_host_memory(facts.info.kind);
    const Wishes wishes = use == MemoryUse::kDevice && shares
                              ? Wishes{kOwn | kMapped | kCached, kOwn | kMapped, kOwn, 0}
                          : use == MemoryUse::kDevice ? Wishes{kOwn, kOwn, kOwn, kOwn}
                          : use == MemoryUse::kShared ? Wishes{kMapped | kCached, kMapped, kMapped, kMapped}
                                                      : Wishes{kOwn | kMapped, kMapped, kMapped, kMapped};
    for (const VkMemoryPropertyFlags wish : wishes) {
        std::optional<std::uint32_t> found;
        for (std::uint32_t i = 0; i < facts.memory.memoryTypeCount; ++i) {
            const VkMemoryPropertyFlags flags = facts.memory.memoryTypes[i].propertyFlags;
            if ((allowed >> i & 1) == 0 || (flags & wish) != wish) continue;
            if ((flags & (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT)) != 0) continue;
            // Shared memory is taken on the host's side where types of both sides suit.
            if (use == MemoryUse::kShared && !shares && (flags & kOwn) != 0 && found) continue;
            if (!found || (use == MemoryUse::kShared && !shares && (flags & kOwn) == 0)) found = i;
        }
        if (found) return found;
    }
    return std::nullopt;
}

bool Memory::direct_in(const GpuFacts& facts) {
    const auto type = type_for(facts, MemoryUse::kDevice, ~0u);
    return type && shares_host_memory(facts.info.kind) &&
           (facts.memory.memoryTypes[*type].propertyFlags & kMapped) == kMapped;
}

std::uint32_t Memory::own_heap(const GpuFacts& facts) {
    return facts.memory.memoryTypes[type_for(facts, MemoryUse::kDevice, ~0u).value_or(0)].heapIndex;
}

void Memory::look_for_others() {
    const auto left = poll_.step();
    if (!left) return;
    const std::lock_guard lock(mutex_);
    const auto within = static_cast<std::int64_t>(allocated_.value) + *left;
    const auto seen = static_cast<std::uint64_t>(std::max<std::int64_t>(within, 0));
    present_ = std::min(budget_, Bytes{seen});
}

void Memory::require_within_budget(Bytes more, Purpose purpose) const {
    const std::uint64_t left = present_.value - std::min(present_.value, allocated_.value);
    if (more.value <= left) return;
    throw Error(ErrorCode::kShortfall, where_of(purpose),
                "expected at most " + format_bytes({left}) + " of the budget of " + format_bytes(present_) +
                    ", found " + format_bytes(more));
}

void Memory::take(Block& block, MemoryUse use, Purpose purpose) {
    const std::size_t bytes = block.size + kSpare;
    const std::uint32_t families[] = {gpu_.facts().compute.family, gpu_.copy_place().family};
    const bool two_families = families[0] != families[1];
    const VkBufferCreateInfo buffer_info{
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT,
        .sharingMode = two_families ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = two_families ? 2u : 0u,
        .pQueueFamilyIndices = families};
    require_created(vkCreateBuffer(gpu_.handle(), &buffer_info, nullptr, &block.buffer), "vkCreateBuffer");
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(gpu_.handle(), block.buffer, &needs);
    require_within_budget(Bytes{needs.size}, purpose);
    const auto type = type_for(gpu_.facts(), use, needs.memoryTypeBits);
    if (!type) throw Error(ErrorCode::kUsage, "device memory", "expected a memory type that suits buffers, found none");

    const VkMemoryAllocateFlagsInfo flags{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                          .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                    .pNext = &flags,
                                    .allocationSize = needs.size,
                                    .memoryTypeIndex = *type};
    const VkResult result = vkAllocateMemory(gpu_.handle(), &info, nullptr, &block.memory);
    if (result == VK_ERROR_DEVICE_LOST) gpu_.health().check(result, "vkAllocateMemory");
    if (result != VK_SUCCESS)
        throw Error(ErrorCode::kShortfall, where_of(purpose),
                    "expected " + format_bytes({needs.size}) + " of the budget of " + format_bytes(budget_) +
                        ", found the driver refusing them after " + format_bytes(allocated_) + " (VkResult " +
                        std::to_string(result) + ")");
    block.counted = Bytes{needs.size};
    require_created(vkBindBufferMemory(gpu_.handle(), block.buffer, block.memory, 0), "vkBindBufferMemory");
    if (use != MemoryUse::kDevice || direct()) {
        void* mapped = nullptr;
        require_created(vkMapMemory(gpu_.handle(), block.memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
        block.host = static_cast<std::byte*>(mapped);
    }
}

DeviceBlock::Place Memory::allocate(MemoryUse use, Purpose purpose, std::size_t size) {
    const std::lock_guard lock(mutex_);
    // Before the driver is asked for anything: rounding only adds to it.
    require_within_budget(Bytes{size}, purpose);
    if (size > gpu_.facts().largest_block.value)
        throw Error(ErrorCode::kShortfall, where_of(purpose),
                    "expected a block of at most " + format_bytes(gpu_.facts().largest_block) + ", found " +
                        format_bytes({size}));
    Block block{.size = std::max<std::size_t>(size, 1)};
    try {
        take(block, use, purpose);
        const VkBufferDeviceAddressInfo info{.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                             .buffer = block.buffer};
        const VkDeviceAddress base = vkGetBufferDeviceAddress(gpu_.handle(), &info);
        const std::uint64_t address = (base + kAlignment - 1) / kAlignment * kAlignment;
        block.skipped = address - base;
        if (block.host != nullptr) block.host += block.skipped;
        block.entry = LedgerEntry(ledger_, {id_, purpose, block.counted});
        std::byte* const host = use == MemoryUse::kDevice ? nullptr : block.host;
        const Block& kept = blocks_.emplace(address, std::move(block)).first->second;
        allocated_ += kept.counted;
        peak_ = std::max(peak_, allocated_);
        return {reinterpret_cast<std::byte*>(address), host, size, address};
    } catch (...) {
        destroy(block);
        throw;
    }
}

void Memory::destroy(Block& block) noexcept {
    vkDestroyBuffer(gpu_.handle(), block.buffer, nullptr);
    vkFreeMemory(gpu_.handle(), block.memory, nullptr);  // unmaps
}

void Memory::release(const DeviceBlock::Place& place, bool in_use) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(place.handle);
    if (found == blocks_.end()) return;
    found->second.released = true;
    if (in_use) return;
    allocated_ -= found->second.counted;
    destroy(found->second);
    blocks_.erase(found);
}

void Memory::sweep() noexcept {
    const std::lock_guard lock(mutex_);
    for (auto block = blocks_.begin(); block != blocks_.end();) {
        if (!block->second.released) {
            ++block;
            continue;
        }
        allocated_ -= block->second.counted;
        destroy(block->second);
        block = blocks_.erase(block);
    }
}

BufferPart Memory::part(const std::byte* address, std::size_t size) const {
    const std::lock_guard lock(mutex_);
    const auto at = reinterpret_cast<std::uint64_t>(address);
    auto found = blocks_.upper_bound(at);  // the block after
    if (found != blocks_.begin()) {
        const auto& [begin, block] = *--found;
        const std::uint64_t offset = at - begin;
        if (!block.released && offset <= block.size && size <= block.size - offset)
            return {block.buffer, block.skipped + offset, block.host != nullptr ? block.host + offset : nullptr};
    }
    throw Error(
        ErrorCode::kUsage, "device memory",
        "expected an address within a block of this device, found " + std::to_string(size) + " bytes elsewhere");
}

Bytes Memory::allocated() const {
    const std::lock_guard lock(mutex_);
    return allocated_;
}

Bytes Memory::budget() const {
    const std::lock_guard lock(mutex_);
    return present_;
}

Bytes Memory::peak() const {
    const std::lock_guard lock(mutex_);
    return peak_;
}

}  // namespace lfm::vulkan
