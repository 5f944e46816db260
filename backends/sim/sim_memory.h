// The simulated device's memory: mappings of the host, counted against a budget and entered in the ledger.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "memory/ledger.h"

namespace lfm::sim {

/// Not thread-safe.
class SimMemory {
public:
    struct Options {
        std::string where;  // of errors
        DeviceId id;
        Bytes budget;
        Bytes context;
        Bytes largest_block;
    };
    /// Throws Error{kShortfall} when the budget does not hold the context.
    SimMemory(Options options, Ledger& ledger);
    SimMemory(const SimMemory&) = delete;
    SimMemory& operator=(const SimMemory&) = delete;
    ~SimMemory();

    /// `size` zero bytes that end, but for the alignment of 256, at an inaccessible page; pages become resident when
    /// touched. Throws Error{kShortfall}.
    std::byte* allocate(Purpose purpose, std::size_t size);
    void release(std::byte* address) noexcept;
    /// Working memory of the device, which lies elsewhere: `bytes` in all from now on. Throws Error{kShortfall}.
    void set_scratch(Bytes bytes);
    void shrink_budget(Bytes budget) { options_.budget = std::min(options_.budget, budget); }

    /// Whether the range lies within one block.
    bool holds(const std::byte* address, std::size_t size) const;
    Bytes used() const { return used_; }
    Bytes peak() const { return peak_; }
    Bytes budget() const { return options_.budget; }

private:
    struct Block {
        std::size_t size = 0;
        std::byte* mapping = nullptr;
        std::size_t mapping_size = 0;
        LedgerEntry entry;
    };
    void check_budget(Purpose purpose, std::size_t more) const;
    void use(Bytes more);

    Options options_;
    Ledger& ledger_;
    Bytes used_, peak_, scratch_;
    LedgerEntry context_entry_, scratch_entry_;
    std::map<std::byte*, Block> blocks_;  // by address
};

}  // namespace lfm::sim
