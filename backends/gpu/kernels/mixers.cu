#include "backends/gpu/kernels/mixers.h"

#include <cmath>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kRopeThreads = kHeadsOfGroup * kLanes;

/// A set of lanes for each head, in place: RMS norm, then rotation of pairs (i, i + head_dim / 2). A lane reads and
/// writes pairs of its own alone.
__global__ void __launch_bounds__(kRopeThreads) qk_norm_rope(QkNormRopePush push) {
    const std::uint32_t token = group_index().y, of_both = group_index().x * kHeadsOfGroup + lane_set();
    const bool is_q = of_both < push.n_head, exists = of_both < push.n_head + push.n_head_kv;
    const std::size_t head = is_q ? std::size_t{token} * push.n_head + of_both
                                  : std::size_t{token} * push.n_head_kv + (of_both - push.n_head);
    float* x = (is_q ? push.q : push.k) + head * push.head_dim;
    const float* norm = is_q ? push.q_norm : push.k_norm;
    const std::uint32_t half = push.head_dim / 2, n = exists ? half : 0;
    float sum = 0;
    for (std::uint32_t i = lane(); i < n; i += kLanes) sum += x[i] * x[i] + x[half + i] * x[half + i];
    const float scale = 1.0f / sqrtf(sum_of_lanes(sum) / static_cast<float>(push.head_dim) + push.eps);
    const float* cosines = push.step->rope + std::size_t{token} * push.head_dim;
    for (std::uint32_t i = lane(); i < n; i += kLanes) {
        const float a = x[i] * scale * norm[i], b = x[half + i] * scale * norm[half + i];
        const float cosine = cosines[i], sine = cosines[half + i];
        x[i] = a * cosine - b * sine;
        x[half + i] = a * sine + b * cosine;
    }
}

constexpr std::uint32_t kInfinityBits = 0x7f800000, kHalfNaN = 0x7e00;

/// Rows into the cache, a value a thread: the lanes of a set share a block of Q8_0.
__global__ void __launch_bounds__(kAppendColumns) kv_append(KvAppendPush push) {
    const std::uint32_t column = group_index().x * kAppendColumns + thread_index(), token = group_index().y;
    const KvAppendPush::Part part = group_index().z == 0 ? push.k : push.v;
    const bool exists = column < push.n_cols;
    const float x = exists ? part.x[std::size_t{token} * push.n_cols + column] : 0.0f;
    std::byte* row = part.cache + (std::size_t{push.step->position} + token) * part.row_bytes;
    if (part.type == CacheType::kQ8_0) {
        // Magnitudes as integers: the same order, and above all of them infinity and the NaNs.
        std::uint32_t largest = bits_of_float(x) & 0x7fffffff;
        for (std::uint32_t mask = kLanes / 2; mask > 0; mask /= 2) {
            const std::uint32_t other = lane_xor(largest, mask);
            largest = other > largest ? other : largest;
        }
        const bool finite = largest < kInfinityBits;
        const float scale = finite ? float_of_bits(largest) / 127.0f : 0.0f;
        const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
        std::byte* block = row + std::size_t{column / kLanes} * (2 + kLanes);
        if (!exists) return;
        if (lane() == 0)
            *reinterpret_cast<std::uint16_t*>(block) = finite ? half_of_float(scale) : std::uint16_t{kHalfNaN};
        reinterpret_cast<std::int8_t*>(block + 2)[lane()] =
            finite ? static_cast<std::int8_t>(round_to_even(x * inverse)) : std::int8_t{0};
    } else if (!exists) {
        return;
    } else if (part.type == CacheType::kF16) {
        reinterpret_cast<std::uint16_t*>(row)[column] = half_of_float(x);
    } else {
        reinterpret_cast<float*>(row)[column] = x;
    }
}

/// s = B ⊙ X of a row counted over the state's rows and then the step's.
__device__ inline float gated(const ShortConvPush& push, std::uint32_t position, std::uint32_t row,
                              std::uint32_t channel) {
    const std::uint32_t n_past = push.l_cache - 1;
    if (row < n_past) return position == 0 ? 0.0f : push.state[std::size_t{row} * push.n_embd + channel];
    const float* bcx = push.bcx + std::size_t{row - n_past} * 3 * push.n_embd + channel;
    return bcx[0] * bcx[2 * push.n_embd];
}

__global__ void __launch_bounds__(kConvChannels) short_conv_many(ShortConvPush push) {
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

/// The same sums; no load waits for the step's.
__global__ void __launch_bounds__(kConvChannels) short_conv_one(ShortConvPush push) {
    const std::uint32_t n = push.n_embd, channel = group_index().x * kConvChannels + thread_index();
    if (channel >= n) return;
    const bool begins = push.step->position == 0;
    const float now = push.bcx[channel] * push.bcx[2 * n + channel];
    const float* taps = push.taps + std::size_t{channel} * push.l_cache;
    float sum = 0;
    for (std::uint32_t j = 0; j + 1 < push.l_cache; ++j) {
        const float kept = push.state[std::size_t{j} * n + channel], past = begins ? 0.0f : kept;
        sum += taps[j] * past;
        if (j > 0) push.state[std::size_t{j - 1} * n + channel] = past;
    }
    sum += taps[push.l_cache - 1] * now;
    if (push.l_cache > 1) push.state[std::size_t{push.l_cache - 2} * n + channel] = now;
    push.out[channel] = push.bcx[n + channel] * sum;
}

}  // namespace

Kernel qk_norm_rope_kernel() { return make_kernel("qk_norm_rope", qk_norm_rope, kRopeThreads); }
Kernel kv_append_kernel() { return make_kernel("kv_append", kv_append, kAppendColumns); }
Kernel short_conv_one_kernel() { return make_kernel("short_conv_one", short_conv_one, kConvChannels); }
Kernel short_conv_many_kernel() { return make_kernel("short_conv_many", short_conv_many, kConvChannels); }

}  // namespace lfm::gpu
