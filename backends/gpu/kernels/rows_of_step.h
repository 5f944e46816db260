// How many rows an operation works on.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

/// row_set: RowSet of backend.h.
__device__ inline std::uint32_t rows_of_step(const Step& step, std::uint32_t row_set) {
    return row_set == 0 ? step.n_tokens : step.n_outputs;
}

}  // namespace lfm::gpu
