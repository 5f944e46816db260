#include "backends/gpu/memory.h"

#include <algorithm>
#include <string>

#include "memory/error.h"

namespace lfm::gpu {
namespace {

std::string where_of(Purpose purpose) { return "device memory (" + std::string(purpose_name(purpose)) + ")"; }

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit * unit; }

std::optional<std::int64_t> free_memory() {
    std::size_t free = 0, total = 0;
    if (api::memory_info(&free, &total) != api::kSuccess) return std::nullopt;
    return static_cast<std::int64_t>(free);
}

}  // namespace

Memory::Memory(Health& health, Ledger& ledger, DeviceId id, Bytes budget, Bytes context)
    : health_(health), ledger_(ledger), id_(id), budget_(budget), poll_(free_memory) {
    require_within_budget(context, Purpose::kContext);
    context_ = LedgerEntry(ledger, {id, Purpose::kContext, context});
    allocated_ = peak_ = context_bytes_ = assumed_context_ = context;
}

void Memory::take_context(std::optional<Bytes> free_before) {
    const auto free_now = free_memory();
    if (!free_before || !free_now) return;
    const std::lock_guard lock(mutex_);
    const std::int64_t taken = static_cast<std::int64_t>(free_before->value) - *free_now;
    std::int64_t own = 0;  // pinned memory is the host's
    for (const auto& [address, block] : blocks_)
        if (block.kind == MemoryKind::kOwn) own += static_cast<std::int64_t>(block.counted.value);
    const Bytes found{static_cast<std::uint64_t>(std::max<std::int64_t>(taken - own, 0))};
    context_measured_ = true;
    if (found <= context_bytes_) return;  // kernels are loaded later: what was assumed for them stays
    const Bytes more{found.value - context_bytes_.value};
    require_within_budget(more, Purpose::kContext);
    context_ = LedgerEntry(ledger_, {id_, Purpose::kContext, found});
    allocated_ += more;
    peak_ = std::max(peak_, allocated_);
    context_bytes_ = found;
}

std::vector<std::string> Memory::remarks() const {
    const std::lock_guard lock(mutex_);
    if (!context_measured_)
        return {"the driver's own memory is assumed to be " + format_bytes(context_bytes_) +
                ": it could not be measured"};
    if (context_bytes_ > assumed_context_)
        return {"the driver took " + format_bytes(context_bytes_) + " when the device was opened, " +
                format_bytes(assumed_context_) + " were expected"};
    return {};
}

Memory::~Memory() {
    for (auto block = blocks_.begin(); block != blocks_.end();) block = destroy(block);
}

void Memory::look_for_others() {
    const auto left = poll_.step();
    if (!left) return;
    const std::lock_guard lock(mutex_);
    present_ = std::min(budget_, Bytes{allocated_.value + static_cast<std::uint64_t>(*left)});
}

void Memory::require_within_budget(Bytes more, Purpose purpose) const {
    const std::uint64_t left = present_.value - std::min(present_.value, allocated_.value);
    if (more.value <= left) return;
    throw Error(ErrorCode::kShortfall, where_of(purpose),
                "expected at most " + format_bytes({left}) + " of the budget of " + format_bytes(present_) +
                    ", found " + format_bytes(more));
}

Bytes Memory::counted(MemoryKind kind, std::size_t size) {
    return Bytes{round_up(size + kSpare, kind == MemoryKind::kOwn ? api::kUnitBytes : api::kPinnedUnitBytes)};
}

DeviceBlock::Place Memory::allocate(MemoryKind kind, Purpose purpose, std::size_t size) {
    const std::lock_guard lock(mutex_);
    require_within_budget(Bytes{size}, purpose);  // before sums that could wrap
    const std::size_t asked = size + kSpare;
    Block block{.size = size, .kind = kind, .counted = counted(kind, size)};
    require_within_budget(block.counted, purpose);
    block.entry = LedgerEntry(ledger_, {id_, purpose, block.counted});
    const bool own = kind == MemoryKind::kOwn;
    const api::Status status = own ? api::allocate(&block.memory, asked) : api::allocate_pinned(&block.memory, asked);
    if (status == api::kOutOfMemory) {
        api::forget_error();
        throw Error(ErrorCode::kShortfall, where_of(purpose),
                    "expected " + format_bytes({size}) + " of the budget of " + format_bytes(budget_) +
                        ", found the driver refusing them after " + format_bytes(allocated_));
    }
    health_.check(status, own ? "allocating device memory" : "allocating pinned memory");
    void* address = block.memory;
    if (!own) health_.check(api::device_address(&address, block.memory), "address of pinned memory");
    auto* const host = own ? nullptr : static_cast<std::byte*>(block.memory);
    allocated_ += block.counted;
    peak_ = std::max(peak_, allocated_);
    auto* const place = static_cast<std::byte*>(address);
    blocks_.emplace(place, std::move(block));
    return {place, host, size, reinterpret_cast<std::uint64_t>(place)};
}

Memory::Blocks::iterator Memory::destroy(Blocks::iterator block) noexcept {
    // A lost device gives nothing back before it is closed; its refusals say nothing new.
    if (block->second.kind == MemoryKind::kOwn)
        ignore(api::release(block->second.memory));
    else
        ignore(api::release_pinned(block->second.memory));
    allocated_ -= block->second.counted;
    return blocks_.erase(block);
}

void Memory::release(const DeviceBlock::Place& place, bool in_use) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(place.address);
    if (found == blocks_.end()) return;
    found->second.released = true;
    if (!in_use) destroy(found);
}

void Memory::sweep() noexcept {
    const std::lock_guard lock(mutex_);
    for (auto block = blocks_.begin(); block != blocks_.end();)
        block = block->second.released ? destroy(block) : std::next(block);
}

void Memory::require_own(const std::byte* address, std::size_t size) const {
    const std::lock_guard lock(mutex_);
    auto found = blocks_.upper_bound(address);  // the block after
    if (found != blocks_.begin()) {
        const auto& [begin, block] = *--found;
        const auto offset = static_cast<std::size_t>(address - begin);
        if (!block.released && offset <= block.size && size <= block.size - offset) return;
    }
    throw Error(
        ErrorCode::kUsage, "device memory",
        "expected an address within a block of this device, found " + std::to_string(size) + " bytes elsewhere");
}

}  // namespace lfm::gpu
