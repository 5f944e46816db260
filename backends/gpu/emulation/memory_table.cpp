#include "backends/gpu/emulation/memory_table.h"

#include <algorithm>
#include <utility>

#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/trespass.h"

namespace lfm::gpu::emulation {

namespace {

using api::Status;

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kMostReleased = 256;

std::uintptr_t address_of(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

}  // namespace

Status MemoryTable::allocate(void** to, std::size_t size, MemoryKind kind, std::size_t most) {
    *to = nullptr;
    if (size == 0) return Status::kSuccess;
    const std::lock_guard lock(mutex_);
    if (kind == MemoryKind::kDevice && (allocated_ > most || size > most - allocated_)) return Status::kOutOfMemory;
    GuardedBlock block(size, kAlignment);
    if (!block) return Status::kOutOfMemory;
    *to = block.data();
    if (kind == MemoryKind::kDevice) allocated_ += size;
    allocations_.emplace(address_of(*to), Allocation{std::move(block), kind});
    return Status::kSuccess;
}

Status MemoryTable::release(void* memory, MemoryKind kind) {
    if (memory == nullptr) return Status::kSuccess;
    const std::lock_guard lock(mutex_);
    const auto found = allocations_.find(address_of(memory));
    if (found == allocations_.end() || found->second.kind != kind) {
        report("release: expected the address of an allocation, found another");
        return Status::kInvalidValue;
    }
    GuardedBlock block = std::move(found->second.block);
    allocations_.erase(found);
    if (kind == MemoryKind::kDevice) allocated_ -= block.size();

    const bool intact = block.intact();
    if (!intact)
        report("release of " + std::to_string(block.size()) +
               " bytes: expected no writing beside the allocation, found some");
    block.revoke();
    released_.push_back(std::move(block));
    if (released_.size() > kMostReleased) released_.pop_front();
    return intact ? Status::kSuccess : Status::kIllegalAddress;
}

std::size_t MemoryTable::allocated() const {
    const std::lock_guard lock(mutex_);
    return allocated_;
}

Status MemoryTable::pin(void* memory, std::size_t size) {
    if (memory == nullptr || size == 0) return Status::kInvalidValue;
    const std::lock_guard lock(mutex_);
    const std::uintptr_t begin = address_of(memory);
    const auto after = pins_.lower_bound(begin);
    const bool meets_next = after != pins_.end() && after->first - begin < size;
    const bool meets_last = after != pins_.begin() && begin - std::prev(after)->first < std::prev(after)->second;
    if (meets_next || meets_last || find(begin) != nullptr) return Status::kHostMemoryAlreadyRegistered;
    pins_.emplace(begin, size);
    return Status::kSuccess;
}

Status MemoryTable::unpin(void* memory) {
    const std::lock_guard lock(mutex_);
    return pins_.erase(address_of(memory)) > 0 ? Status::kSuccess : Status::kHostMemoryNotRegistered;
}

bool MemoryTable::knows_of_host(const void* memory) const {
    const std::lock_guard lock(mutex_);
    const std::uintptr_t address = address_of(memory);
    if (const Allocation* found = find(address)) return found->kind == MemoryKind::kPinned;
    const auto after = pins_.upper_bound(address);
    return after != pins_.begin() && address - std::prev(after)->first < std::prev(after)->second;
}

std::optional<std::string> MemoryTable::problem_of(const void* begin, std::size_t size) const {
    const std::lock_guard lock(mutex_);
    const std::uintptr_t address = address_of(begin);
    if (begin == nullptr) return "expected memory, found none";
    if (const Allocation* found = find(address)) {
        const std::uintptr_t of_block = address_of(found->block.data());
        const std::size_t in_block = found->block.size();
        if (address >= of_block && address - of_block <= in_block && size <= in_block - (address - of_block)) return {};
        const auto offset = static_cast<std::ptrdiff_t>(address - of_block);
        return "expected bytes within an allocation of " + std::to_string(in_block) + ", found " +
               std::to_string(size) + " from " + std::to_string(offset) + " on";
    }
    if (was_released(address)) return "expected memory that is allocated, found some that was released";
    return {};
}

void MemoryTable::hide() {
    hiding_.lock();
    const std::lock_guard lock(mutex_);
    for (const auto& [address, allocation] : allocations_)
        if (allocation.kind == MemoryKind::kDevice) hidden_.push_back(allocation.block.pages());
    hide_pages(hidden_);
}

// Without the table's lock: a thread that waits to touch hidden memory may hold it.
void MemoryTable::show() {
    show_pages(hidden_);
    hidden_.clear();
    hiding_.unlock();
}

std::string MemoryTable::place_of(const void* memory) const {
    const std::lock_guard lock(mutex_);
    const std::uintptr_t address = address_of(memory);
    if (const Allocation* found = find(address)) {
        const std::uintptr_t begin = address_of(found->block.data()), end = begin + found->block.size();
        const std::string of = " an allocation of " + std::to_string(found->block.size());
        return address < begin ? std::to_string(begin - address) + " bytes before" + of
               : address < end ? "byte " + std::to_string(address - begin) + " of" + of
                               : std::to_string(address - end) + " bytes after the end of" + of;
    }
    return was_released(address) ? "memory that was released" : "an address where nothing is";
}

const MemoryTable::Allocation* MemoryTable::find(std::uintptr_t address) const {
    // The one that begins after the address may own it by what lies before it.
    auto candidate = allocations_.upper_bound(address);
    if (candidate != allocations_.end() && candidate->second.block.owns(address)) return &candidate->second;
    if (candidate == allocations_.begin()) return nullptr;
    --candidate;
    return candidate->second.block.owns(address) ? &candidate->second : nullptr;
}

bool MemoryTable::was_released(std::uintptr_t address) const {
    return std::any_of(released_.begin(), released_.end(),
                       [&](const GuardedBlock& block) { return block.owns(address); });
}

}  // namespace lfm::gpu::emulation
