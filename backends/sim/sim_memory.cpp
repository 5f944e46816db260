#include "backends/sim/sim_memory.h"

#include <algorithm>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "memory/error.h"

namespace lfm::sim {
namespace {

constexpr std::size_t kAlignment = 256;  // device.h's

std::size_t round_up(std::size_t size, std::size_t to) { return (size + to - 1) / to * to; }

}  // namespace

SimMemory::SimMemory(Options options, Ledger& ledger) : options_(std::move(options)), ledger_(ledger) {
    check_budget(Purpose::kContext, options_.context.value);
    use(options_.context);
    context_entry_ = LedgerEntry(ledger_, {options_.id, Purpose::kContext, options_.context});
}

SimMemory::~SimMemory() {
    for (const auto& [address, block] : blocks_) ::munmap(block.mapping, block.mapping_size);
}

void SimMemory::check_budget(Purpose purpose, std::size_t more) const {
    const std::uint64_t left = options_.budget.value - std::min(options_.budget.value, used_.value);
    if (more > left)
        throw Error(ErrorCode::kShortfall, options_.where,
                    "expected " + format_bytes(Bytes{more}) + " for " + std::string(purpose_name(purpose)) +
                        ", found " + format_bytes(Bytes{left}) + " of the budget of " + format_bytes(options_.budget) +
                        " left");
}

void SimMemory::use(Bytes more) {
    used_ += more;
    peak_ = std::max(peak_, used_);
}

std::byte* SimMemory::allocate(Purpose purpose, std::size_t size) {
    if (size > options_.largest_block.value)
        throw Error(ErrorCode::kShortfall, options_.where,
                    "expected at most " + format_bytes(options_.largest_block) + " in one allocation, found " +
                        format_bytes(Bytes{size}) + " for " + std::string(purpose_name(purpose)));
    check_budget(purpose, size);
    const std::size_t rounded = round_up(std::max<std::size_t>(size, 1), kAlignment);
    check_budget(purpose, rounded);
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    Block block;
    block.size = size;
    block.mapping_size = round_up(rounded, page) + page;
    void* mapping =
        ::mmap(nullptr, block.mapping_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        throw Error(ErrorCode::kShortfall, options_.where,
                    "expected " + format_bytes(Bytes{size}) + " of memory, the system refused");
    block.mapping = static_cast<std::byte*>(mapping);
    std::byte* guard = block.mapping + block.mapping_size - page;
    ::mprotect(guard, page, PROT_NONE);
    std::byte* address = guard - rounded;
    block.entry = LedgerEntry(ledger_, {options_.id, purpose, Bytes{rounded}});
    blocks_.emplace(address, std::move(block));
    use(Bytes{rounded});
    return address;
}

void SimMemory::release(std::byte* address) noexcept {
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return;
    used_ -= Bytes{round_up(std::max<std::size_t>(found->second.size, 1), kAlignment)};
    ::munmap(found->second.mapping, found->second.mapping_size);
    blocks_.erase(found);
}

void SimMemory::set_scratch(Bytes bytes) {
    if (bytes > scratch_) {
        const Bytes more{bytes.value - scratch_.value};
        check_budget(Purpose::kScratch, more.value);
        use(more);
    } else {
        used_ -= Bytes{scratch_.value - bytes.value};
    }
    scratch_ = bytes;
    scratch_entry_ = {};  // before entering anew, so that the ledger never counts both
    scratch_entry_ = LedgerEntry(ledger_, {options_.id, Purpose::kScratch, bytes});
}

bool SimMemory::holds(const std::byte* address, std::size_t size) const {
    auto after = blocks_.upper_bound(const_cast<std::byte*>(address));
    if (after == blocks_.begin()) return false;
    const auto& [begin, block] = *std::prev(after);
    const auto offset = static_cast<std::size_t>(address - begin);
    return offset <= block.size && size <= block.size - offset;
}

}  // namespace lfm::sim
