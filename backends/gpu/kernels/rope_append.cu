#include "backends/gpu/kernels/rope_append.h"

#include <cmath>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kRopeThreads = kHeadsOfGroup * kLanes;

constexpr std::uint32_t kInfinityBits = 0x7f800000, kHalfNaN = 0x7e00;

/// Writes a value of a row of keys or values to a row of the cache. Q8_0: the lanes of a set hold 32 neighbours from a
/// multiple of 32 on. All lanes of the warp call it.
__device__ inline void append(const KvAppendPush::Part& part, std::size_t to, std::uint32_t column, float value,
                              bool exists) {
    std::byte* row = part.cache + to * part.row_bytes;
    if (part.type == CacheType::kQ8_0) {
        // Magnitudes as integers: the same order, and above all of them infinity and the NaNs.
        std::uint32_t largest = bits_of_float(value) & 0x7fffffff;
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
            finite ? static_cast<std::int8_t>(round_to_even(value * inverse)) : std::int8_t{0};
    } else if (!exists) {
        return;
    } else if (part.type == CacheType::kF16) {
        reinterpret_cast<std::uint16_t*>(row)[column] = half_of_float(value);
    } else {
        reinterpret_cast<float*>(row)[column] = value;
    }
}

/// Head `of_all` of q and k, one after the other; `exists` is false beyond.
struct RopeHead {
    __device__ RopeHead(const QkNormRopePush& push, std::uint32_t token, std::uint32_t of_all)
        : is_q(of_all < push.n_head),
          exists(of_all < push.n_head + push.n_head_kv),
          of_kind(is_q ? of_all : of_all - push.n_head),
          x((is_q ? push.q + std::size_t{token} * push.n_head * push.head_dim
                  : push.k + std::size_t{token} * push.n_head_kv * push.head_dim) +
            std::size_t{of_kind} * push.head_dim),
          norm(is_q ? push.q_norm : push.k_norm) {}

    bool is_q, exists;
    std::uint32_t of_kind;
    float* x;
    const float* norm;
};
/// Two values that rotate together.
struct Pair {
    float a, b;
};
__device__ inline float norm_scale(const QkNormRopePush& push, const float* x, std::uint32_t n) {
    float sum = 0;
    const std::uint32_t half = push.head_dim / 2;
    for (std::uint32_t i = lane(); i < n; i += kLanes) sum += x[i] * x[i] + x[half + i] * x[half + i];
    return 1.0f / sqrtf(sum_of_lanes(sum) / static_cast<float>(push.head_dim) + push.eps);
}
__device__ inline Pair rotated(const QkNormRopePush& push, std::uint32_t token, const RopeHead& head, float scale,
                               std::uint32_t i) {
    const std::uint32_t half = push.head_dim / 2;
    const float* cosines = push.step->rope + std::size_t{token} * push.head_dim;
    const float a = head.x[i] * scale * head.norm[i], b = head.x[half + i] * scale * head.norm[half + i];
    const float cosine = cosines[i], sine = cosines[half + i];
    return {a * cosine - b * sine, a * sine + b * cosine};
}

/// A set of lanes for each head, in place: RMS norm, then rotation of pairs (i, i + head_dim / 2). A lane reads and
/// writes pairs of its own alone.
__global__ void __launch_bounds__(kRopeThreads) qk_norm_rope(QkNormRopePush push) {
    begin_kernel();
    const std::uint32_t token = group_index().y, half = push.head_dim / 2;
    const RopeHead head(push, token, group_index().x * kHeadsOfGroup + lane_set());
    const std::uint32_t n = head.exists ? half : 0;
    const float scale = norm_scale(push, head.x, n);
    for (std::uint32_t i = lane(); i < n; i += kLanes) {
        const Pair pair = rotated(push, token, head, scale, i);
        head.x[i] = pair.a;
        head.x[half + i] = pair.b;
    }
}

/// The same, and keys and values into the cache; heads of v come after those of k.
__global__ void __launch_bounds__(kRopeThreads) rope_append(RopeAppendPush push) {
    begin_kernel();
    const std::uint32_t token = group_index().y, half = push.rope.head_dim / 2;
    const std::uint32_t of_all = group_index().x * kHeadsOfGroup + lane_set();
    const std::uint32_t first_v = push.rope.n_head + push.rope.n_head_kv;
    const bool is_v = of_all >= first_v && of_all < first_v + push.rope.n_head_kv;
    const RopeHead head(push.rope, token, of_all);
    const std::uint32_t kv_row = push.rope.step->kv_rows[token];
    const bool goes_to_cache = (is_v || (head.exists && !head.is_q)) && kv_row != kNowhere;
    const std::uint32_t of_kind = is_v ? of_all - first_v : head.of_kind, first_column = of_kind * push.rope.head_dim;
    const float* v = push.v.x + (std::size_t{token} * push.rope.n_head_kv + of_kind) * push.rope.head_dim;
    const float scale = norm_scale(push.rope, head.x, head.exists ? half : 0);
    for (std::uint32_t first = 0; first < half; first += kLanes) {
        const std::uint32_t i = first + lane();
        Pair pair{0, 0};
        if (head.exists && i < half) {
            pair = rotated(push.rope, token, head, scale, i);
            head.x[i] = pair.a;
            head.x[half + i] = pair.b;
        }
        if (is_v && i < half) pair = {v[i], v[half + i]};
        const KvAppendPush::Part part{nullptr, is_v ? push.v.cache : push.k.cache, is_v ? push.v.type : push.k.type,
                                      is_v ? push.v.row_bytes : push.k.row_bytes};
        append(part, kv_row, first_column + i, pair.a, goes_to_cache && i < half);
        append(part, kv_row, first_column + half + i, pair.b, goes_to_cache && i < half);
    }
}

/// Rows into the cache, a value a thread: the lanes of a set share a block of Q8_0.
__global__ void __launch_bounds__(kAppendColumns) kv_append(KvAppendPush push) {
    begin_kernel();
    const std::uint32_t column = group_index().x * kAppendColumns + thread_index(), token = group_index().y;
    const KvAppendPush::Part part = group_index().z == 0 ? push.k : push.v;
    const std::uint32_t kv_row = push.step->kv_rows[token];
    const bool exists = column < push.n_cols && kv_row != kNowhere;
    append(part, kv_row, column, exists ? part.x[std::size_t{token} * push.n_cols + column] : 0.0f, exists);
}

/// The first rows of a page into another, in units of two bytes, which every type's rows are multiples of.
__global__ void __launch_bounds__(kCopyThreads) copy_pages(CopyPagesPush push) {
    begin_kernel();
    const CopiedPage copy = push.step->page_copies[group_index().y];
    const CopyPagesPush::Part part = group_index().z == 0 ? push.k : push.v;
    const std::size_t page_bytes = std::size_t{kPageTokens} * part.row_bytes;
    const auto* from = reinterpret_cast<const std::uint16_t*>(part.cache + copy.from * page_bytes);
    auto* to = reinterpret_cast<std::uint16_t*>(part.cache + copy.to * page_bytes);
    const std::size_t n = std::size_t{copy.n_tokens} * part.row_bytes / 2;
    for (std::size_t i = group_index().x * kCopyThreads + thread_index(); i < n; i += n_groups().x * kCopyThreads)
        to[i] = from[i];
}

}  // namespace

Kernel qk_norm_rope_kernel() { return make_kernel("qk_norm_rope", qk_norm_rope, kRopeThreads); }
Kernel rope_append_kernel() { return make_kernel("rope_append", rope_append, kRopeThreads); }
Kernel copy_pages_kernel() { return make_kernel("copy_pages", copy_pages, kCopyThreads); }
Kernel kv_append_kernel() { return make_kernel("kv_append", kv_append, kAppendColumns); }

}  // namespace lfm::gpu
