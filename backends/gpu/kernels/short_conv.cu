#include "backends/gpu/kernels/short_conv.h"

#include "backends/gpu/kernels/convolve.h"
#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

/// A channel of one sequence: its window before the step, then the step's rows.
struct Channel {
    const ShortConvPush& push;
    const SequenceRows sequence;  // a copy, which stores do not change
    RingView ring;
    std::uint32_t channel;

    __device__ Channel(const ShortConvPush& push, const SequenceRows& sequence, std::uint32_t channel)
        : push(push),
          sequence(sequence),
          ring(ring_view(push.ring, push.n_slots, push.n_embd, push.l_cache, sequence)),
          channel(channel) {}

    /// s = B · X of the sequence's row of this step.
    __device__ float gated(std::uint32_t row) const {
        const float* bcx = push.bcx + std::size_t{sequence.first_row + row} * 3 * push.n_embd + channel;
        return bcx[0] * bcx[2 * push.n_embd];
    }
    __device__ float* saved(std::uint32_t row) const { return push.ring + std::size_t{row} * push.n_embd + channel; }
    /// The window's row i before the step.
    __device__ float past(std::uint32_t i) const {
        if (sequence.window_from == kFromRing) return ring.past(i, channel);
        const bool is_there = sequence.window_from == kFromSaved && ring.position + i >= ring.n_past;
        return is_there ? *saved(sequence.saved + i) : 0.0f;
    }
    __device__ float at(std::uint32_t i) const { return i < ring.n_past ? past(i) : gated(i - ring.n_past); }

    /// After the sequence's row. What is written here nobody reads in this step.
    __device__ void keep(std::uint32_t row) const {
        const std::uint32_t n = sequence.n_rows, n_past = ring.n_past;
        const std::uint32_t room = ring.n_slots - n_past, n_kept = n < room ? n : room;
        if (row + n_kept >= n) *ring.at(n_past + row + n_kept - n, channel) = gated(row);
        if (row + 1 != n) return;
        if (sequence.window_from != kFromRing)
            for (std::uint32_t i = 0; i < n_past; ++i) *ring.at(i, channel) = past(i);
        if (sequence.save_to != kNowhere)
            for (std::uint32_t i = 0; i < n_past; ++i) *saved(sequence.save_to + i) = at(n + i);
    }
};

__global__ void __launch_bounds__(kConvChannels) short_conv_many(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t n = push.n_embd, channel = group_index().x * kConvChannels + thread_index();
    const Step& step = *push.step;
    const std::uint32_t first = group_index().y * push.n_run;
    if (channel >= n) return;
    const std::uint32_t end = first + push.n_run < step.n_tokens ? first + push.n_run : step.n_tokens;
    const float* taps = push.taps + std::size_t{channel} * push.l_cache;
    for (std::uint32_t token = first; token < end;) {
        const Channel own(push, sequence_at(step, step.row_sequences[token]), channel);
        const std::uint32_t its_end = own.sequence.first_row + own.sequence.n_rows;
        for (; token < end && token < its_end; ++token) {
            const std::uint32_t row = token - own.sequence.first_row;
            float sum = 0;
            for (std::uint32_t j = 0; j < push.l_cache; ++j) sum += taps[j] * own.at(row + j);
            push.out[std::size_t{token} * n + channel] = push.bcx[(std::size_t{token} * 3 + 1) * n + channel] * sum;
            own.keep(row);
        }
    }
}

/// The same sums for one token.
__global__ void __launch_bounds__(kConvChannels) short_conv_one(ShortConvPush push) {
    begin_kernel();
    const std::uint32_t channel = group_index().x * kConvChannels + thread_index();
    const bool exists = channel < push.n_embd;
    const ConvolvedRow row{push.bcx, push.taps,
                           ring_view(push.ring, push.n_slots, push.n_embd, push.l_cache, sequence_at(*push.step, 0))};
    const float value = exists ? convolve(row, channel) : 0.0f;
    if (exists) push.out[channel] = value;
    if (push.to.q != nullptr) store_quantised(value, channel / kLanes, exists, push.to.q, push.to.scales, push.to.sums);
}

}  // namespace

Kernel short_conv_one_kernel() { return make_kernel("short_conv_one", short_conv_one, kConvChannels); }
Kernel short_conv_many_kernel() { return make_kernel("short_conv_many", short_conv_many, kConvChannels); }

}  // namespace lfm::gpu
