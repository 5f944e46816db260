// Many sequences in each step: their prompts together, then a token of each at a time.
#pragma once

#include <vector>

#include "runtime/session/placed.h"
#include "tools/bench/report.h"

namespace lfm::tools {

/// n_prompt tokens of each sequence after n_depth, then n_gen of each.
struct ParallelTest {
    std::uint32_t n_prompt = 0, n_gen = 0, n_depth = 0, n_parallel = 1;
};

/// A result for the prompts and one for the tokens after them; none for a part of 0 tokens. `time`: as BenchInputs'.
std::vector<BenchResult> run_parallel(const ParallelTest& test, Placed& placed, std::uint32_t repetitions, bool warmup,
                                      BenchTime time);

}  // namespace lfm::tools
