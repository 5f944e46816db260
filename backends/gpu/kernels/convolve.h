// The short convolution of one token, a channel a thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/kernels/sequences.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

/// A sequence's ring of one layer, and where it stands in this step: ConvRing of backends/needs.
struct RingView {
    float* rows;  // [rows of all rings and saved windows, n_embd]
    std::uint32_t n_slots, n_past, n_embd;
    std::uint32_t ring, window, position;

    /// A channel of row i: rows of the window from 0 on, then rows that the step keeps.
    __device__ float* at(std::uint32_t i, std::uint32_t channel) const {
        std::uint32_t slot = window + i;
        if (slot >= n_slots) slot -= n_slots;
        return rows + std::size_t{ring + slot} * n_embd + channel;
    }
    /// A channel of the window's row i, 0 before the sequence's first token. The load does not wait for the position.
    __device__ float past(std::uint32_t i, std::uint32_t channel) const {
        const float kept = *at(i, channel);
        return position + i < n_past ? 0.0f : kept;
    }
};

__device__ inline RingView ring_view(float* rows, std::uint32_t n_slots, std::uint32_t n_embd, std::uint32_t l_cache,
                                     const SequenceRows& sequence) {
    return {rows, n_slots, l_cache - 1, n_embd, sequence.ring, sequence.window, sequence.position};
}

struct ConvolvedRow {
    const float* bcx;   // [3, n_embd]
    const float* taps;  // [n_embd, l_cache]
    RingView ring;
};

/// Convolves a channel, which exists, and writes its newest value to the ring.
__device__ inline float convolve(const ConvolvedRow& row, std::uint32_t channel) {
    const std::uint32_t n = row.ring.n_embd, n_past = row.ring.n_past;
    const float now = row.bcx[channel] * row.bcx[2 * n + channel];
    const float* taps = row.taps + std::size_t{channel} * (n_past + 1);
    float sum = 0;
    for (std::uint32_t j = 0; j < n_past; ++j) sum += taps[j] * row.ring.past(j, channel);
    sum += taps[n_past] * now;
    if (n_past > 0) *row.ring.at(n_past, channel) = now;
    return row.bcx[n + channel] * sum;
}

}  // namespace lfm::gpu
