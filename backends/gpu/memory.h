// The device's memory, and pinned memory of the host that it reads: one allocation a block, within the budget, entered
// in the ledger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/device.h"
#include "backends/device/free_memory_poll.h"
#include "backends/device/own_block.h"
#include "backends/gpu/health.h"
#include "backends/needs/gpu_needs.h"
#include "memory/ledger.h"

namespace lfm::gpu {

class Memory {
public:
    /// Bytes behind the end of every block that kernels may read.
    static constexpr std::size_t kSpare = needs::gpu::kSpare;

    /// The context is counted from the start. Throws Error{kShortfall} when the budget does not hold it.
    Memory(Health& health, Ledger& ledger, DeviceId id, Bytes budget, Bytes context);
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();

    /// How many bytes of the budget a block of this size takes.
    static Bytes counted(MemoryKind kind, std::size_t size);
    /// 256-byte aligned. Throws Error{kShortfall} when the budget or the driver refuses it.
    DeviceBlock::Place allocate(MemoryKind kind, Purpose purpose, std::size_t size);
    /// Frees the block now or, when it is `in_use`, in the next sweep(): work under way may still use it, and freeing
    /// device memory waits for all of that work.
    void release(const DeviceBlock::Place& place, bool in_use) noexcept;
    /// Frees what was released while in use. Nothing may be under way.
    void sweep() noexcept;
    /// Throws Error{kUsage} when [address, address + size) is not within one block.
    void require_own(const std::byte* address, std::size_t size) const;

    Bytes allocated() const { return locked(allocated_); }
    Bytes peak() const { return locked(peak_); }
    /// Less than configured while other processes hold memory that this one would need for it.
    Bytes budget() const { return locked(present_); }
    /// Measures what opening the device took: what was free before, less what is free now and what was allocated since.
    /// Where that is more than was counted, it is counted from now on. Throws Error{kShortfall} when the budget does
    /// not hold it.
    void take_context(std::optional<Bytes> free_before);
    std::vector<std::string> remarks() const;
    /// Called once a step: now and then asks the driver what is left, and adapts budget().
    void look_for_others();

private:
    struct Block {
        std::size_t size = 0;
        MemoryKind kind = MemoryKind::kOwn;
        void* memory = nullptr;  // as the driver gave it
        Bytes counted;
        LedgerEntry entry;
        bool released = false;
    };
    using Blocks = std::map<const std::byte*, Block>;

    Bytes locked(const Bytes& value) const {
        const std::lock_guard lock(mutex_);
        return value;
    }
    void require_within_budget(Bytes more, Purpose purpose) const;
    Blocks::iterator destroy(Blocks::iterator block) noexcept;

    Health& health_;
    Ledger& ledger_;
    DeviceId id_;
    const Bytes budget_;  // as configured
    LedgerEntry context_;
    Bytes context_bytes_, assumed_context_;
    bool context_measured_ = false;
    FreeMemoryPoll poll_;
    mutable std::mutex mutex_;
    Blocks blocks_;  // by the device's address
    Bytes allocated_, peak_;
    Bytes present_ = budget_;  // budget, less what others took of it
};

using OwnBlock = lfm::OwnBlock<Memory>;

}  // namespace lfm::gpu
