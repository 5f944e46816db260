// Kernels of the short convolution, for one token and for many.
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/quantise.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kConvChannels = 64;  // of a group
struct ShortConvPush {
    const Step* step;
    const float* bcx;   // [n, 3 · n_embd]
    const float* taps;  // [n_embd, l_cache]
    float* ring;        // [n_slots, n_embd]
    float* out;         // [n, n_embd]
    QuantisedRows to;   // one token: out's quantised form too; null: not wanted
    std::uint32_t n_embd, l_cache, n_slots;
    std::uint32_t n_run;  // tokens of a thread
};
/// Channels along x; many: runs of tokens along y.
Kernel short_conv_one_kernel();
Kernel short_conv_many_kernel();

}  // namespace lfm::gpu
