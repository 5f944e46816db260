// Runs lfm-bench's tests on a session, one after the other.
#pragma once

#include <optional>
#include <vector>

#include "memory/host_buffer.h"
#include "runtime/experts/routing_trace.h"
#include "runtime/session/placed.h"
#include "tools/bench/options.h"
#include "tools/bench/report.h"

namespace lfm::tools {

struct BenchInputs {
    Placed& placed;
    const BenchOptions& options;
    std::optional<RoutingTrace> routing;  // nothing: the router chooses
    BenchTime time = BenchTime::kMeasured;
};

class Bench {
public:
    /// `ledger` and what `inputs` refers to outlive it.
    Bench(BenchInputs inputs, Ledger& ledger);
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    BenchResult run(const BenchTest& test);

private:
    double repeat(const Checkpoint& start, const BenchTest& test);
    double append(std::uint32_t n);
    std::optional<double> bandwidth() const;

    BenchInputs in_;
    HostBuffer buffer_;
    /// Added to positions where tokens and experts are drawn, so that no repetition profits from another's caches.
    std::uint32_t shift_ = 0;
    std::vector<std::int32_t> tokens_;
};

}  // namespace lfm::tools
