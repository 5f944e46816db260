// What many tokens' experts need besides multiplications: pairs of token and choice sorted by expert, and results put
// together again.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/matmul.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kNoRow = 0xffffffff;
inline constexpr std::uint32_t kMostSortedExperts = 4096;

/// Sorts the step's pairs by expert, those of experts outside the set left out: one group.
struct SortPush {
    const Step* step;
    ExpertSource source;
    const std::int32_t* ids;
    ExpertEntry* found;       // [n_expert]
    std::uint32_t* begin;     // [n_expert + 1]: the first row of each expert
    std::uint32_t* token_of;  // [n · n_used]: the token of each row
    std::uint32_t* row_of;    // [n · n_used]: the row of each pair, or kNoRow
    std::uint32_t n_used;
};
Kernel sort_kernel();

/// out[t] = Σ weight · expert_out[row of (t, j)] over the choices j of the set, in their order: a thread for each
/// column, on the grid {tokens, groups of columns}.
struct CombinePush {
    const Step* step;
    const std::uint32_t* row_of;
    const float* weights;
    const float* expert_out;
    float* out;
    std::uint32_t n_used, n_out;
};
Kernel combine_kernel();
inline constexpr std::uint32_t kCombineThreads = 128;

}  // namespace lfm::gpu
