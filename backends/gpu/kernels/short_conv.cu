#include "backends/gpu/kernels/short_conv.h"

#include "backends/gpu/kernels/convolve.h"
#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

/// s = B ⊙ X of a row counted over the state's rows and then the step's.
__device__ inline float gated(const ShortConvPush& push, std::uint32_t position, std::uint32_t row,
                              std::uint32_t channel) {
    const std::uint32_t n_past = push.l_cache - 1;
    if (row < n_past) return position == 0 ? 0.0f : push.state[std::size_t{row} * push.n_embd + channel];
    const float* bcx = push.bcx + std::size_t{row - n_past} * 3 * push.n_embd + channel;
    return bcx[0] * bcx[2 * push.n_embd];
}

__global__ void __launch_bounds__(kConvChannels) short_conv_many(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t n = push.n_embd, channel = group_index().x * kConvChannels + thread_index();
    const std::uint32_t n_tokens = push.step->n_tokens, position = push.step->position;
    const std::uint32_t first = group_index().y * push.n_run;
    if (channel >= n) return;
    const std::uint32_t end = first + push.n_run < n_tokens ? first + push.n_run : n_tokens;
    const float* taps = push.taps + std::size_t{channel} * push.l_cache;
    for (std::uint32_t token = first; token < end; ++token) {
        float sum = 0;
        for (std::uint32_t j = 0; j < push.l_cache; ++j) sum += taps[j] * gated(push, position, token + j, channel);
        push.out[std::size_t{token} * n + channel] = push.bcx[(std::size_t{token} * 3 + 1) * n + channel] * sum;
    }
    if (first > 0) return;
    // Row i becomes row n_tokens + i, which lies after it: none that is still to be read is overwritten.
    for (std::uint32_t i = 0; i + 1 < push.l_cache; ++i)
        push.state[std::size_t{i} * n + channel] = gated(push, position, n_tokens + i, channel);
}

/// The same sums for one token.
__global__ void __launch_bounds__(kConvChannels) short_conv_one(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t channel = group_index().x * kConvChannels + thread_index();
    const bool exists = channel < push.n_embd;
    const ConvolvedRow row{push.bcx, push.taps, push.state, push.n_embd, push.l_cache};
    const float value = exists ? convolve(row, push.step->position == 0, channel) : 0.0f;
    if (exists) push.out[channel] = value;
    if (push.to.q != nullptr) store_quantised(value, channel / kLanes, exists, push.to.q, push.to.scales, push.to.sums);
}

}  // namespace

Kernel short_conv_one_kernel() { return make_kernel("short_conv_one", short_conv_one, kConvChannels); }
Kernel short_conv_many_kernel() { return make_kernel("short_conv_many", short_conv_many, kConvChannels); }

}  // namespace lfm::gpu
