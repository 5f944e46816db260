// Counts what operator new hands out, in every test binary that links allocation_counter.cpp.
#pragma once

#include <cstdint>

namespace lfm::test {

/// Counts from its construction on, over all threads. One at a time: a second one restarts the peak.
class AllocationCounter {
public:
    AllocationCounter();

    /// Calls of operator new.
    std::uint64_t calls() const;
    /// The most bytes held at once, beyond those held at construction.
    std::uint64_t peak_bytes() const;

private:
    std::uint64_t calls_before_;
    std::int64_t bytes_before_;
};

}  // namespace lfm::test
