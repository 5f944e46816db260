// Which rows a kernel works on: RowSet of backend.h, as a push value.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kTokenRows = 0;
inline constexpr std::uint32_t kOutputRows = 1;

__device__ inline std::uint32_t n_rows(const Step& step, std::uint32_t row_set) {
    return row_set == kTokenRows ? step.n_tokens : step.n_outputs;
}

}  // namespace lfm::gpu
