// The short convolution of one token, a channel a thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

struct ConvolvedRow {
    const float* bcx;   // [3, n_embd]
    const float* taps;  // [n_embd, l_cache]
    float* state;       // [l_cache - 1, n_embd]
    std::uint32_t n_embd, l_cache;
};

/// Of a channel that exists; moves its state on. `begins`: what the state holds counts as zero. No load waits for it.
__device__ inline float convolve(const ConvolvedRow& row, bool begins, std::uint32_t channel) {
    const std::uint32_t n = row.n_embd;
    const float now = row.bcx[channel] * row.bcx[2 * n + channel];
    const float* taps = row.taps + std::size_t{channel} * row.l_cache;
    float sum = 0;
    for (std::uint32_t j = 0; j + 1 < row.l_cache; ++j) {
        const float kept = row.state[std::size_t{j} * n + channel], past = begins ? 0.0f : kept;
        sum += taps[j] * past;
        if (j > 0) row.state[std::size_t{j - 1} * n + channel] = past;
    }
    sum += taps[row.l_cache - 1] * now;
    if (row.l_cache > 1) row.state[std::size_t{row.l_cache - 2} * n + channel] = now;
    return row.bcx[n + channel] * sum;
}

}  // namespace lfm::gpu
