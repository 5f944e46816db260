// Activations to 8 bits in blocks of 32 for the kernels of many rows (those of few can do it themselves).
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kQuantiseThreads = 256;
inline constexpr std::uint32_t kQuantiseColumns = 4 * kQuantiseThreads;  // of a group

/// On the grid {rows of the set, groups of columns}.
struct QuantisePush {
    const Step* step;
    const float* x;  // [rows, n_cols]
    QuantisedRows to;
    std::uint32_t n_cols, row_set;
};
Kernel quantise_kernel();

/// silu(gate) ⊙ up, in f32 in the place of `gate` (gate_kernel) or quantised in `to` (gate_quantise_kernel), on the
/// grid {rows, groups of columns}.
struct GatePush {
    const std::uint32_t* n_rows;  // how many there are
    float* gate;                  // [rows, n_cols]
    const float* up;
    QuantisedRows to;
    std::uint32_t n_cols;
};
Kernel gate_kernel();
Kernel gate_quantise_kernel();

}  // namespace lfm::gpu
