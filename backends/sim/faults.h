// Faults on demand, and the counts that say when one comes.
#pragma once

#include <cstdint>

#include "memory/units.h"

namespace lfm::sim {

enum class Recurrence : std::uint8_t { kOnce, kForGood };

/// Counted from the device's construction, from 1; 0: never.
struct SimFaults {
    /// That allocation is refused with Error{kShortfall}. allocate() counts, and record() when its scratch grows.
    std::uint64_t refuse_allocation = 0;
    Recurrence refusal = Recurrence::kOnce;
    /// The device is lost at that call: of allocate, record, upload, download, begin_step, submit, flush, copy, signal
    /// or wait, or a submitted program or copy beginning to run.
    std::uint64_t lose_at_call = 0;
    /// Factor on the virtual seconds of copies enqueued from now on.
    double copy_slowdown = 1;
    /// From that begin_step on the budget is at most `shrunk_budget`; what is allocated stays.
    std::uint64_t shrink_at_step = 0;
    Bytes shrunk_budget;
    /// That operation's output rows become NaN (a route's: its weights). CopyArgs does not count, as it may carry
    /// numbers that are not floats. Without effect with Arithmetic::kSkip.
    std::uint64_t nan_in_operation = 0;
};

/// How far the counts of SimFaults have come.
struct SimCounts {
    std::uint64_t allocations = 0, calls = 0, steps = 0, operations = 0;
};

/// Not thread-safe.
class FaultCounter {
public:
    explicit FaultCounter(const SimFaults& faults) : faults_(faults) {}

    void replace(const SimFaults& faults) { faults_ = faults; }
    const SimFaults& faults() const { return faults_; }
    const SimCounts& counts() const { return counts_; }

    /// One more of each kind; true when the fault comes here.
    bool call() { return ++counts_.calls == faults_.lose_at_call; }
    bool step() { return ++counts_.steps == faults_.shrink_at_step; }
    bool allocation() {
        const std::uint64_t n = ++counts_.allocations, refused = faults_.refuse_allocation;
        return refused > 0 && (n == refused || (n > refused && faults_.refusal == Recurrence::kForGood));
    }
    void set_operations(std::uint64_t n) { counts_.operations = n; }

private:
    SimFaults faults_;
    SimCounts counts_;
};

}  // namespace lfm::sim
