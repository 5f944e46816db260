// The device's memory: one buffer and one allocation a block, within the budget, entered in the ledger.
#pragma once

#include <volk.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "backends/device.h"
#include "backends/device/free_memory_poll.h"
#include "backends/device/own_block.h"
#include "backends/needs/vulkan_needs.h"
#include "backends/vulkan/free_memory.h"
#include "backends/vulkan/gpu.h"
#include "memory/ledger.h"

namespace lfm::vulkan {

/// Who uses the memory, and how: this decides which memory type is chosen.
enum class MemoryUse : std::uint8_t {
    kDevice,   // the device's own; mapped where it is the host's memory anyway
    kShared,   // both read and write it
    kWritten,  // the host writes, the device reads: on the device's side of the bus where it can be mapped
};

/// Part of a block as Vulkan names it.
struct BufferPart {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceSize offset = 0;
    std::byte* host = nullptr;  // null: not mapped
};

class Memory {
public:
    /// Bytes by which a block is larger than asked for: room to align its address; at least 16 remain at its end.
    static constexpr std::size_t kSpare = needs::vulkan::kSpare;

    Memory(Gpu& gpu, Ledger& ledger, DeviceId id, Bytes budget)
        : gpu_(gpu), ledger_(ledger), id_(id), budget_(budget), poll_([&gpu] {
              return left_in_heap(gpu.facts(), own_heap(gpu.facts()));
          }) {}
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();

    /// 256-byte aligned, with at least 16 bytes after its end that may be read. The handle is the address.
    /// Throws Error{kShortfall} when the budget or the driver refuses it.
    DeviceBlock::Place allocate(MemoryUse use, Purpose purpose, std::size_t size);
    /// Frees the block: now or, when work that is under way may still use it, at the next `sweep`.
    void release(const DeviceBlock::Place& place, bool in_use) noexcept;
    /// Frees what was released while in use. Nothing may be under way.
    void sweep() noexcept;

    /// Throws Error{kUsage} when [address, address + size) is not within one block.
    BufferPart part(const std::byte* address, std::size_t size) const;
    /// Whether the host reads and writes kDevice memory directly: then it needs no staging.
    bool direct() const { return direct_in(gpu_.facts()); }
    static bool direct_in(const GpuFacts& facts);
    /// The heap of kDevice memory.
    static std::uint32_t own_heap(const GpuFacts& facts);

    Bytes allocated() const;
    Bytes peak() const;
    /// As configured, or less while other processes hold so much memory that the rest does not suffice.
    Bytes budget() const;
    /// Once a step: asks the driver what is left, when it is time to.
    void look_for_others();

private:
    struct Block {
        VkBuffer buffer = VK_NULL_HANDLE;
        VkDeviceMemory memory = VK_NULL_HANDLE;
        VkDeviceSize skipped = 0;  // bytes of the buffer before the aligned address
        std::size_t size = 0;
        std::byte* host = nullptr;
        Bytes counted;
        LedgerEntry entry;
        bool released = false;
    };
    using Blocks = std::map<std::uint64_t, Block>;

    static std::optional<std::uint32_t> type_for(const GpuFacts& facts, MemoryUse use, std::uint32_t allowed);
    void take(Block& block, MemoryUse use, Purpose purpose);
    void destroy(Block& block) noexcept;
    void require_within_budget(Bytes more, Purpose purpose) const;

    Gpu& gpu_;
    Ledger& ledger_;
    DeviceId id_;
    const Bytes budget_;  // as configured
    FreeMemoryPoll poll_;
    mutable std::mutex mutex_;  // copies look addresses up while others allocate
    Blocks blocks_;             // by address
    Bytes allocated_, peak_;
    Bytes present_ = budget_;  // budget, less what others took of it
};

/// Step parameters, scratch, staging.
using OwnBlock = lfm::OwnBlock<Memory>;

}  // namespace lfm::vulkan
