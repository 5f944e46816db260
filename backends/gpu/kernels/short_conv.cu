#include "backends/gpu/kernels/short_conv.h"

#include "backends/gpu/kernels/convolve.h"
#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

__global__ void __launch_bounds__(kConvChannels) short_conv_many(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t n = push.n_embd, channel = group_index().x * kConvChannels + thread_index();
    const std::uint32_t n_tokens = push.step->n_tokens;
    const std::uint32_t first = group_index().y * push.n_run;
    if (channel >= n) return;
    const RingView ring = ring_view(push.ring, push.n_slots, n, push.l_cache, *push.step);
    const auto gated = [&push, n, channel](std::uint32_t token) {
        const float* bcx = push.bcx + std::size_t{token} * 3 * n + channel;
        return bcx[0] * bcx[2 * n];
    };
    const std::uint32_t end = first + push.n_run < n_tokens ? first + push.n_run : n_tokens;
    const std::uint32_t room = ring.n_slots - ring.n_past, n_kept = n_tokens < room ? n_tokens : room;
    const float* taps = push.taps + std::size_t{channel} * push.l_cache;
    for (std::uint32_t token = first; token < end; ++token) {
        float sum = 0;
        for (std::uint32_t j = 0; j < push.l_cache; ++j) {
            const std::uint32_t row = token + j;
            sum += taps[j] * (row < ring.n_past ? ring.past(row, channel) : gated(row - ring.n_past));
        }
        push.out[std::size_t{token} * n + channel] = push.bcx[(std::size_t{token} * 3 + 1) * n + channel] * sum;
        // Nobody reads these rows in this step.
        if (token + n_kept >= n_tokens) *ring.at(ring.n_past + token + n_kept - n_tokens, channel) = gated(token);
    }
}

/// The same sums for one token.
__global__ void __launch_bounds__(kConvChannels) short_conv_one(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t channel = group_index().x * kConvChannels + thread_index();
    const bool exists = channel < push.n_embd;
    const ConvolvedRow row{push.bcx, push.taps,
                           ring_view(push.ring, push.n_slots, push.n_embd, push.l_cache, *push.step)};
    const float value = exists ? convolve(row, channel) : 0.0f;
    if (exists) push.out[channel] = value;
    if (push.to.q != nullptr) store_quantised(value, channel / kLanes, exists, push.to.q, push.to.scales, push.to.sums);
}

}  // namespace

Kernel short_conv_one_kernel() { return make_kernel("short_conv_one", short_conv_one, kConvChannels); }
Kernel short_conv_many_kernel() { return make_kernel("short_conv_many", short_conv_many, kConvChannels); }

}  // namespace lfm::gpu
