// A step's sequences, as kernels find them.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

__device__ inline const SequenceRows& sequence_at(const Step& step, std::uint32_t i) {
    return reinterpret_cast<const SequenceRows*>(&step + 1)[i];
}

/// The row of a cache that has the token at this position.
__device__ inline std::uint32_t kv_row(const std::uint32_t* pages, std::uint32_t position) {
    return pages == nullptr ? position : pages[position / kPageTokens] * kPageTokens + position % kPageTokens;
}

}  // namespace lfm::gpu
