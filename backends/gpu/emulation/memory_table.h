// What is allocated on the device, and which memory of the host it knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/gpu/emulation/api.h"
#include "backends/gpu/emulation/guarded_block.h"

namespace lfm::gpu::emulation {

enum class MemoryKind : std::uint8_t { kDevice, kPinned };

class MemoryTable {
public:
    /// As drivers align: 256 bytes. Device memory beyond `most` in all is refused.
    api::Status allocate(void** to, std::size_t size, MemoryKind kind, std::size_t most);
    /// kIllegalAddress: something wrote beside the allocation (reported).
    api::Status release(void* memory, MemoryKind kind);
    std::size_t allocated() const;

    api::Status pin(void* memory, std::size_t size);
    api::Status unpin(void* memory);
    /// Whether the device reaches this memory of the host.
    bool knows_of_host(const void* memory) const;

    /// What is wrong with the range; nothing when it lies within one allocation, or in memory that is none of ours.
    std::optional<std::string> problem_of(const void* begin, std::size_t size) const;

    /// Until show(), by the same thread, what is allocated on the device cannot be touched: other threads that do wait
    /// until then, this thread's kernels trespass. Only where hide_pages() (trespass.h) does something.
    void hide();
    void show();

    /// For texts: "7 bytes after an allocation of 12".
    std::string place_of(const void* memory) const;

private:
    struct Allocation {
        GuardedBlock block;
        MemoryKind kind;
    };

    const Allocation* find(std::uintptr_t address) const;
    bool was_released(std::uintptr_t address) const;

    mutable std::mutex mutex_;
    std::map<std::uintptr_t, Allocation> allocations_;  // by the address that the program has
    std::deque<GuardedBlock> released_;                 // the latest: touching them is noticed
    std::map<std::uintptr_t, std::size_t> pins_;
    std::size_t allocated_ = 0;
    std::mutex hiding_;
    std::vector<std::span<std::byte>> hidden_;  // pages
};

}  // namespace lfm::gpu::emulation
