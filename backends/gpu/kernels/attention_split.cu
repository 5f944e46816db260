// Attention of a sequence's single row: a group takes a run of its keys for the query heads that share a key/value
// head.
//
// Eight lanes (of heads of 64) read a key together, sixteen bytes each, so that a set of lanes reads four at once; such
// teams go through their own keys with a running softmax, and are joined at the end; and so are groups, by the last
// one.
#include <cmath>

#include "backends/gpu/kernels/arrivals.h"
#include "backends/gpu/kernels/attention.h"
#include "backends/gpu/kernels/cached_values.h"
#include "backends/gpu/kernels/quantise_block.h"
#include "backends/gpu/kernels/sequences.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr float kLowest = -3.4e38f;
constexpr std::uint32_t kSplitThreads = 128;
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

/// Whether the group's head h exists: the last group may have fewer than kHeads.
__device__ inline bool is_head(const AttentionPush& push, std::uint32_t h) {
    return group_index().z * kHeads + h < push.heads_share;
}
__device__ inline std::uint32_t head_of(const AttentionPush& push, std::uint32_t h) {
    return group_index().y * push.heads_share + group_index().z * kHeads + h;
}
__device__ inline PartWeight* part_weights(const AttentionPush& push) {
    const std::size_t n_parts = std::size_t{push.n_head_kv} * push.heads_share * push.n_splits;
    return reinterpret_cast<PartWeight*>(push.parts + n_parts * push.head_dim);
}

/// Joins the teams' results, a thread for each value of the heads.
template <std::uint32_t kHeadDim>
__device__ inline void write_joined(const AttentionPush& push, std::uint32_t split, const Teams<kHeadDim>& teams) {
    for (std::uint32_t i = thread_index(); i < kHeads * kHeadDim; i += kSplitThreads) {
        const std::uint32_t h = i / kHeadDim, column = i % kHeadDim, head = head_of(push, h);
        const bool exists = is_head(push, h) && column < push.head_dim;
        float largest = kLowest, sum = 0, total = 0;
        for (std::uint32_t team = 0; team < Teams<kHeadDim>::kTeams; ++team)
            largest = teams.largest[team][h] > largest ? teams.largest[team][h] : largest;
        for (std::uint32_t team = 0; team < Teams<kHeadDim>::kTeams; ++team) {
            const float weight = exp2f(teams.largest[team][h] - largest);
            sum += weight * teams.sums[team][h][column];
            total += weight * teams.totals[team][h];
        }
        if (push.n_splits > 1) {
            const std::size_t part = std::size_t{head} * push.n_splits + split;
            if (exists) push.parts[part * push.head_dim + column] = sum;
            if (exists && column == 0) part_weights(push)[part] = {total, largest};
            continue;
        }
        const float value = exists ? sum / total : 0.0f;
        const std::size_t at = std::size_t{head} * push.head_dim + column;
        if (exists) push.out[at] = value;
        if (push.to.q != nullptr)
            store_quantised(value, static_cast<std::uint32_t>(at / 32), exists, push.to.q, push.to.scales,
                            push.to.sums);
    }
}

/// What the last group of a key/value head needs to join the splits. Columns by fours; where threads are left over,
/// several share out the splits of four columns.
template <std::uint32_t kHeadDim>
struct Joined {
    static constexpr std::uint32_t kFours = kHeads * kHeadDim / 4;
    static constexpr std::uint32_t kRows = kFours < kSplitThreads ? kSplitThreads / kFours : 1;

    float weights[kHeads][kMostSplits];
    float totals[kHeads];
    Floats4 sums[kRows][kFours];
};

/// How many parts of a column a thread loads before it waits for the first.
constexpr std::uint32_t kPartsUnderWay = 8;

/// Weights of the parts: a set of lanes for each head.
template <std::uint32_t kHeadDim>
__device__ inline void weigh_parts(const AttentionPush& push, std::uint32_t n, Joined<kHeadDim>& joined) {
    static_assert(kHeads == kSplitThreads / kLanes);
    const std::uint32_t h = lane_set();
    const PartWeight* parts = part_weights(push) + std::size_t{head_of(push, is_head(push, h) ? h : 0)} * push.n_splits;
    float largest = kLowest, total = 0;
    for (std::uint32_t split = lane(); split < n; split += kLanes)
        largest = parts[split].largest > largest ? parts[split].largest : largest;
    largest = largest_of_lanes(largest);
    for (std::uint32_t split = lane(); split < n; split += kLanes) {
        const float weight = exp2f(parts[split].largest - largest);
        joined.weights[h][split] = weight;
        total += weight * parts[split].total;
    }
    total = sum_of_lanes(total);
    if (lane() == 0) joined.totals[h] = total;
}

/// Joins the first n splits. The whole group calls it.
template <std::uint32_t kHeadDim>
__device__ inline void join_splits(const AttentionPush& push, std::uint32_t n, Joined<kHeadDim>& joined) {
    using Shared = Joined<kHeadDim>;
    constexpr std::uint32_t kFours = Shared::kFours, kRows = Shared::kRows;
    weigh_parts(push, n, joined);
    sync_group();
    const std::uint32_t row = thread_index() / kFours % kRows, n_fours = push.head_dim / 4;
    for (std::uint32_t i = thread_index() % kFours; i < kFours; i += kSplitThreads) {
        const std::uint32_t h = i / (kHeadDim / 4), column = i % (kHeadDim / 4);
        Floats4 sum{0, 0, 0, 0};
        if (is_head(push, h) && column < n_fours) {
            const auto* parts = reinterpret_cast<const Floats4*>(push.parts) +
                                std::size_t{head_of(push, h)} * push.n_splits * n_fours + column;
            for (std::uint32_t first = row; first < n; first += kPartsUnderWay * kRows) {
                Floats4 some[kPartsUnderWay];
#pragma unroll
                for (std::uint32_t k = 0; k < kPartsUnderWay; ++k) {
                    const std::uint32_t split = first + k * kRows;
                    some[k] = parts[std::size_t{split < n ? split : first} * n_fours];
                }
#pragma unroll
                for (std::uint32_t k = 0; k < kPartsUnderWay; ++k) {
                    const std::uint32_t split = first + k * kRows;
                    const float w = split < n ? joined.weights[h][split] : 0;
                    sum = {sum.x + w * some[k].x, sum.y + w * some[k].y, sum.z + w * some[k].z, sum.w + w * some[k].w};
                }
            }
        }
        joined.sums[row][i] = sum;
    }
    sync_group();
    for (std::uint32_t i = thread_index(); i < kFours; i += kSplitThreads) {
        const std::uint32_t h = i / (kHeadDim / 4), column = i % (kHeadDim / 4);
        const bool exists = is_head(push, h) && column < n_fours;
        Floats4 sum = joined.sums[0][i];
        for (std::uint32_t other = 1; other < kRows; ++other) {
            const Floats4 more = joined.sums[other][i];
            sum = {sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w};
        }
        const float total = joined.totals[h];
        sum = {sum.x / total, sum.y / total, sum.z / total, sum.w / total};
        const std::size_t at = std::size_t{head_of(push, h)} * n_fours + column;  // of fours
        if (exists) reinterpret_cast<Floats4*>(push.out)[at] = sum;
        if (push.to.q == nullptr) continue;
        const float four[4] = {exists ? sum.x : 0, exists ? sum.y : 0, exists ? sum.z : 0, exists ? sum.w : 0};
        store_block(quantise_four(four), static_cast<std::uint32_t>(at / 8), column % 8, exists,
                    reinterpret_cast<Words4*>(push.to.q), push.to.scales, push.to.sums);
    }
}

template <std::uint32_t kHeadDim>
struct SplitShared {
    union {
        Teams<kHeadDim> teams;
        Joined<kHeadDim> joined;  // after write_joined()
    };
    std::uint32_t is_last;
};

template <typename Eight>
__device__ inline Eight load(const std::byte* cache, std::uint32_t row_bytes, CacheType type, std::uint32_t head_dim,
                             std::size_t kv_row, std::uint32_t first) {
    return Eight::load({cache + kv_row * row_bytes, type, head_dim, first});
}

/// Makes the arguments those of one of many rows, which may be any of the step's.
__device__ inline void go_to_row(AttentionPush& push, std::uint32_t single, std::uint32_t row) {
    const std::size_t n_head = std::size_t{push.n_head_kv} * push.heads_share;
    push.q += row * n_head * push.head_dim;
    push.out += row * n_head * push.head_dim;
    push.parts += single * n_head * push.n_splits * (push.head_dim + sizeof(PartWeight) / sizeof(float));
    push.tickets += single * n_groups().z * push.n_head_kv;
}

/// kBatch: keys whose loads a lane has on their way together. Long, as its arrays stay in registers from the first key
/// to the last sum.
template <std::uint32_t kHeadDim, typename Eight, std::uint32_t kBatch, bool kMany>
__global__ void __launch_bounds__(kSplitThreads) attention_split(AttentionPush push) {
    begin_kernel();
    using Shared = Teams<kHeadDim>;
    constexpr std::uint32_t kLanesOfTeam = Shared::kLanesOfTeam, kTeams = Shared::kTeams;
    const std::uint32_t single = kMany ? group_index().x / push.n_splits : 0;
    const std::uint32_t split = group_index().x - single * push.n_splits;
    const SequenceRows& sequence = sequence_at(*push.step, single);
    if constexpr (kMany) go_to_row(push, single, sequence.first_row);
    const std::uint32_t* const pages = sequence.pages;
    const std::uint32_t n_keys = sequence.position + 1, each = keys_of_split(n_keys, push.n_splits);
    const std::uint32_t begin = split * each, end = begin + each < n_keys ? begin + each : n_keys;
    const std::uint32_t team = thread_index() / kLanesOfTeam, first_column = thread_index() % kLanesOfTeam * kEight;

    float q[kHeads][kEight];
    Running running;
    for (std::uint32_t h = 0; h < kHeads; ++h) {
        const std::uint32_t wanted = group_index().z * kHeads + h;  // those beyond the last head repeat it
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

    if (begin >= end) return;  // not earlier, so that the loads of the queries do not wait for the position

    const std::byte* keys = push.keys + std::size_t{group_index().y} * push.key_bytes;
    const std::byte* values = push.values + std::size_t{group_index().y} * push.value_bytes;
    const std::uint32_t key_row = push.n_head_kv * push.key_bytes, value_row = push.n_head_kv * push.value_bytes;
    for (std::uint32_t first = begin + team; first - team < end; first += kBatch * kTeams) {
        Eight k[kBatch], v[kBatch];
        std::uint32_t rows[kBatch];
        for (std::uint32_t b = 0; b < kBatch; ++b)
            rows[b] = kv_row(pages, first + b * kTeams < end ? first + b * kTeams : end - 1);
        for (std::uint32_t b = 0; b < kBatch; ++b)
            k[b] = load<Eight>(keys, key_row, push.key_type, push.head_dim, rows[b], first_column);
        for (std::uint32_t b = 0; b < kBatch; ++b)
            v[b] = load<Eight>(values, value_row, push.value_type, push.head_dim, rows[b], first_column);
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

    auto& shared = shared_memory<SplitShared<kHeadDim>>();
    Shared& teams = shared.teams;
    for (std::uint32_t h = 0; h < kHeads; ++h) {
        for (std::uint32_t i = 0; i < kEight; ++i) teams.sums[team][h][first_column + i] = running.sums[h][i];
        if (first_column == 0) {
            teams.totals[team][h] = running.totals[h];
            teams.largest[team][h] = running.largest[h];
        }
    }
    sync_group();
    write_joined(push, split, teams);
    if (push.n_splits == 1) return;
    const std::uint32_t n = (n_keys + each - 1) / each;  // splits that have keys: the others do not arrive
    std::uint32_t* ticket = push.tickets + group_index().z * push.n_head_kv + group_index().y;
    if (arrives_last(ticket, n, shared.is_last)) join_splits(push, n, shared.joined);
}

struct Names {
    const char *one, *many;
};

template <std::uint32_t kHeadDim, typename Eight, std::uint32_t kBatch>
Kernel split_kernel(const Names& names, bool many) {
    using Shared = SplitShared<kHeadDim>;
    return many ? make_kernel<Shared>(names.many, attention_split<kHeadDim, Eight, kBatch, true>, kSplitThreads)
                : make_kernel<Shared>(names.one, attention_split<kHeadDim, Eight, kBatch, false>, kSplitThreads);
}

}  // namespace

Kernel attention_split_kernel(CacheReads reads, std::uint32_t head_dim, bool many) {
    if (reads == CacheReads::kF16 && head_dim == 64)
        return split_kernel<64, EightHalves, 4>({"attention_split_f16_64", "attention_splits_f16_64"}, many);
    if (reads == CacheReads::kF16 && head_dim == 128)
        return split_kernel<128, EightHalves, 4>({"attention_split_f16_128", "attention_splits_f16_128"}, many);
    if (reads == CacheReads::kQ8_0 && head_dim == 64)
        return split_kernel<64, EightLevels, 4>({"attention_split_q8_0_64", "attention_splits_q8_0_64"}, many);
    if (reads == CacheReads::kQ8_0 && head_dim == 128)
        return split_kernel<128, EightLevels, 4>({"attention_split_q8_0_128", "attention_splits_q8_0_128"}, many);
    if (head_dim <= 64) return split_kernel<64, EightOfAny, 2>({"attention_split_64", "attention_splits_64"}, many);
    if (head_dim <= 128) return split_kernel<128, EightOfAny, 2>({"attention_split_128", "attention_splits_128"}, many);
    return split_kernel<256, EightOfAny, 2>({"attention_split_256", "attention_splits_256"}, many);
}

}  // namespace lfm::gpu
