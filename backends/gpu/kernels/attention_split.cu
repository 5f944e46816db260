// Attention of one token: a group takes a run of its keys for the query heads that share a key/value head.
//
// Eight lanes (of heads of 64) read a key together, sixteen bytes each, so that a set of lanes reads four at once; such
// teams go through their own keys with a running softmax, and are joined at the end.
#include <cmath>

#include "backends/gpu/kernels/attention.h"
#include "backends/gpu/kernels/cached_values.h"
#include "backends/gpu/kernels/group_sum.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr float kLowest = -3.4e38f;
constexpr std::uint32_t kSplitThreads = 128, kJoinThreads = 256;
constexpr std::uint32_t kHeads = kHeadsOfSplit;

/// Split s takes the keys from s times this on; later splits may have none.
__device__ inline std::uint32_t keys_of_split(std::uint32_t n_keys, std::uint32_t n_splits) {
    const std::uint32_t even = (n_keys + n_splits - 1) / n_splits;
    return (even + kKeysOfSplit - 1) / kKeysOfSplit * kKeysOfSplit;
}

template <std::uint32_t kHeadDim>
struct Teams {
    static constexpr std::uint32_t kLanesOfTeam = kHeadDim / kEight;
    static constexpr std::uint32_t kTeams = kSplitThreads / kLanesOfTeam;

    float sums[kTeams][kHeads][kHeadDim];
    float totals[kTeams][kHeads];
    float largest[kTeams][kHeads];
};

/// What a lane has of each query head: eight columns.
struct Running {
    float sums[kHeads][kEight];
    float totals[kHeads];
    float largest[kHeads];
};

/// Joins the teams: values of heads, a thread each.
template <std::uint32_t kHeadDim>
__device__ inline void write_joined(const AttentionPush& push, const Teams<kHeadDim>& teams) {
    const std::uint32_t n_head = push.n_head_kv * push.heads_share;
    auto* part_weights = reinterpret_cast<PartWeight*>(push.out + std::size_t{n_head} * push.n_splits * push.head_dim);
    for (std::uint32_t i = thread_index(); i < kHeads * kHeadDim; i += kSplitThreads) {
        const std::uint32_t h = i / kHeadDim, column = i % kHeadDim;
        const std::uint32_t shared_by = group_index().z * kHeads + h;
        if (shared_by >= push.heads_share || column >= push.head_dim) continue;
        float largest = kLowest, sum = 0, total = 0;
        for (std::uint32_t team = 0; team < Teams<kHeadDim>::kTeams; ++team)
            largest = teams.largest[team][h] > largest ? teams.largest[team][h] : largest;
        for (std::uint32_t team = 0; team < Teams<kHeadDim>::kTeams; ++team) {
            const float weight = exp2f(teams.largest[team][h] - largest);
            sum += weight * teams.sums[team][h][column];
            total += weight * teams.totals[team][h];
        }
        const std::uint32_t head = group_index().y * push.heads_share + shared_by;
        const std::size_t part = std::size_t{head} * push.n_splits + group_index().x;
        push.out[part * push.head_dim + column] = push.n_splits == 1 ? sum / total : sum;
        if (push.n_splits > 1 && column == 0) part_weights[part] = {total, largest};
    }
}

template <typename Eight>
__device__ inline Eight load(const std::byte* cache, std::uint32_t row_bytes, CacheType type, std::uint32_t head_dim,
                             std::uint32_t key, std::uint32_t first) {
    return Eight::load({cache + std::size_t{key} * row_bytes, type, head_dim, first});
}

/// kBatch: keys whose loads a lane has on their way together.
template <std::uint32_t kHeadDim, typename Eight, std::uint32_t kBatch>
__global__ void __launch_bounds__(kSplitThreads) attention_split(AttentionPush push) {
    using Shared = Teams<kHeadDim>;
    constexpr std::uint32_t kLanesOfTeam = Shared::kLanesOfTeam, kTeams = Shared::kTeams;
    const std::uint32_t n_keys = push.step->position + 1, each = keys_of_split(n_keys, push.n_splits);
    const std::uint32_t begin = group_index().x * each, end = begin + each < n_keys ? begin + each : n_keys;
    const std::uint32_t team = thread_index() / kLanesOfTeam, first_column = thread_index() % kLanesOfTeam * kEight;

    float q[kHeads][kEight];
    Running running;
    for (std::uint32_t h = 0; h < kHeads; ++h) {
        const std::uint32_t wanted = group_index().z * kHeads + h;  // a group beyond the last head repeats it
        const std::uint32_t head =
            group_index().y * push.heads_share + (wanted < push.heads_share ? wanted : push.heads_share - 1);
        const auto eight = EightOfAny::load({reinterpret_cast<const std::byte*>(push.q + head * push.head_dim),
                                             CacheType::kF32, push.head_dim, first_column});
        for (std::uint32_t i = 0; i < kEight; ++i) {
            q[h][i] = eight.values[i] * push.scale;
            running.sums[h][i] = 0;
        }
        running.totals[h] = 0;
        running.largest[h] = kLowest;
    }

    if (begin >= end) return;  // not before: the queries need not wait for the position

    const std::byte* keys = push.keys + std::size_t{group_index().y} * push.key_bytes;
    const std::byte* values = push.values + std::size_t{group_index().y} * push.value_bytes;
    const std::uint32_t key_row = push.n_head_kv * push.key_bytes, value_row = push.n_head_kv * push.value_bytes;
    for (std::uint32_t first = begin + team; first - team < end; first += kBatch * kTeams) {
        Eight k[kBatch], v[kBatch];
        for (std::uint32_t b = 0; b < kBatch; ++b) {
            const std::uint32_t key = first + b * kTeams < end ? first + b * kTeams : end - 1;
            k[b] = load<Eight>(keys, key_row, push.key_type, push.head_dim, key, first_column);
        }
        for (std::uint32_t b = 0; b < kBatch; ++b) {
            const std::uint32_t key = first + b * kTeams < end ? first + b * kTeams : end - 1;
            v[b] = load<Eight>(values, value_row, push.value_type, push.head_dim, key, first_column);
        }
        float weights[kBatch][kHeads];
        for (std::uint32_t b = 0; b < kBatch; ++b) {
            float values_of_key[kEight];
            k[b].unpack(values_of_key);
            for (std::uint32_t h = 0; h < kHeads; ++h) {
                float sum = 0;
                for (std::uint32_t i = 0; i < kEight; ++i) sum += q[h][i] * values_of_key[i];
                sum *= k[b].scale();
                for (std::uint32_t mask = kLanesOfTeam / 2; mask > 0; mask /= 2) sum += lane_xor(sum, mask);
                weights[b][h] = first + b * kTeams < end ? sum : kLowest;
            }
        }
        for (std::uint32_t h = 0; h < kHeads; ++h) {
            float largest = running.largest[h];
            for (std::uint32_t b = 0; b < kBatch; ++b) largest = weights[b][h] > largest ? weights[b][h] : largest;
            const float shrink = exp2f(running.largest[h] - largest);
            running.largest[h] = largest;
            running.totals[h] *= shrink;
            for (std::uint32_t i = 0; i < kEight; ++i) running.sums[h][i] *= shrink;
            for (std::uint32_t b = 0; b < kBatch; ++b) {
                weights[b][h] = first + b * kTeams < end ? exp2f(weights[b][h] - largest) : 0.0f;
                running.totals[h] += weights[b][h];
            }
        }
        for (std::uint32_t b = 0; b < kBatch; ++b) {
            float values_of_key[kEight];
            v[b].unpack(values_of_key);
            const float scale = v[b].scale();
            for (std::uint32_t h = 0; h < kHeads; ++h) {
                const float weight = weights[b][h] * scale;
                for (std::uint32_t i = 0; i < kEight; ++i) running.sums[h][i] += weight * values_of_key[i];
            }
        }
    }

    Shared& teams = shared_memory<Shared>();
    for (std::uint32_t h = 0; h < kHeads; ++h) {
        for (std::uint32_t i = 0; i < kEight; ++i) teams.sums[team][h][first_column + i] = running.sums[h][i];
        if (first_column == 0) {
            teams.totals[team][h] = running.totals[h];
            teams.largest[team][h] = running.largest[h];
        }
    }
    sync_group();
    write_joined(push, teams);
}

struct Joined {
    GroupSums<kJoinThreads> group_sums;
    float largest[kJoinThreads / kLanes];
    float weights[kMostSplits];
    Floats4 sums[kJoinThreads];
};
static_assert(kMostSplits <= kJoinThreads);

/// Four columns a thread; threads of the same columns share out the splits.
__global__ void __launch_bounds__(kJoinThreads) attention_join(AttentionJoinPush push) {
    Joined& shared = shared_memory<Joined>();
    const std::uint32_t n_keys = push.step->position + 1, each = keys_of_split(n_keys, push.n_splits);
    const std::uint32_t n = (n_keys + each - 1) / each, me = thread_index(), head = group_index().x;
    const std::size_t n_parts = std::size_t{push.n_head} * push.n_splits;
    const auto* part_weights = reinterpret_cast<const PartWeight*>(push.parts + n_parts * push.head_dim);
    PartWeight part{0.0f, kLowest};
    if (me < push.n_splits) part = part_weights[std::size_t{head} * push.n_splits + me];
    if (me >= n) part = {0.0f, kLowest};  // left by another step, or never written
    const float of_set = largest_of_lanes(part.largest);
    if (lane() == 0) shared.largest[lane_set()] = of_set;
    sync_group();
    float largest = kLowest;
    for (const float other : shared.largest) largest = other > largest ? other : largest;
    const float weight = exp2f(part.largest - largest);
    if (me < kMostSplits) shared.weights[me] = weight;
    const float total = sum_of_group(weight * part.total, shared.group_sums);  // all have met: weights are there

    const std::uint32_t n_fours = push.head_dim / 4, n_rows = kJoinThreads / n_fours;
    const std::uint32_t row = me / n_fours, column = me % n_fours;
    const auto* fours = reinterpret_cast<const Floats4*>(push.parts) + std::size_t{head} * push.n_splits * n_fours;
    Floats4 sum{0, 0, 0, 0};
    for (std::uint32_t split = row; split < n && row < n_rows; split += n_rows) {
        const Floats4 of_split = fours[split * n_fours + column];
        const float w = shared.weights[split];
        sum = {sum.x + w * of_split.x, sum.y + w * of_split.y, sum.z + w * of_split.z, sum.w + w * of_split.w};
    }
    shared.sums[me] = sum;
    sync_group();
    if (row > 0) return;
    for (std::uint32_t other = 1; other < n_rows; ++other) {
        const Floats4 more = shared.sums[other * n_fours + column];
        sum = {sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w};
    }
    reinterpret_cast<Floats4*>(push.out)[head * n_fours + column] = {sum.x / total, sum.y / total, sum.z / total,
                                                                     sum.w / total};
}

template <std::uint32_t kHeadDim, typename Eight, std::uint32_t kBatch>
Kernel split_kernel(const char* name) {
    return make_kernel<Teams<kHeadDim>>(name, attention_split<kHeadDim, Eight, kBatch>, kSplitThreads);
}

}  // namespace

Kernel attention_split_kernel(CacheReads reads, std::uint32_t head_dim) {
    if (reads == CacheReads::kF16 && head_dim == 64) return split_kernel<64, EightHalves, 4>("attention_split_f16_64");
    if (reads == CacheReads::kF16 && head_dim == 128)
        return split_kernel<128, EightHalves, 4>("attention_split_f16_128");
    if (reads == CacheReads::kQ8_0 && head_dim == 64)
        return split_kernel<64, EightLevels, 4>("attention_split_q8_0_64");
    if (reads == CacheReads::kQ8_0 && head_dim == 128)
        return split_kernel<128, EightLevels, 4>("attention_split_q8_0_128");
    if (head_dim <= 64) return split_kernel<64, EightOfAny, 2>("attention_split_64");
    if (head_dim <= 128) return split_kernel<128, EightOfAny, 2>("attention_split_128");
    return split_kernel<256, EightOfAny, 2>("attention_split_256");
}

Kernel attention_join_kernel() { return make_kernel<Joined>("attention_join", attention_join, kJoinThreads); }

}  // namespace lfm::gpu
