// Attention of many tokens with products of tiles of halves. A set of lanes takes 16 rows of the group's 64 and keeps
// their queries, scores and results in registers; it goes through the keys a tile at a time, and the next one is loaded
// meanwhile. Scores already lie as the second product takes its A, so lanes exchange nothing between the two products.
#include <cmath>

#include "backends/gpu/kernels/attention_rows.h"
#include "backends/gpu/kernels/cached_values.h"
#include "backends/gpu/platform/half_tiles.h"
#include "backends/gpu/platform/launch.h"
#include "backends/gpu/platform/tiles.h"

namespace lfm::gpu {
namespace {

constexpr float kLowest = -3.4e38f;
constexpr std::uint32_t kThreads = 128;
constexpr std::uint32_t kSetRows = 16;
static_assert(kThreads / kLanes * kSetRows == kHalfTileRows);

template <std::uint32_t kHeadDim>
struct Tile {
    static constexpr std::uint32_t kKeys = 4096 / kHeadDim;
    static constexpr std::uint32_t kEights = kHeadDim / kEight;
    static constexpr std::uint32_t kStride = kHeadDim + kEight;  // so that neighbouring rows lie in different banks
    static constexpr std::uint32_t kLoads = kKeys * kEights / kThreads;  // of a thread

    // Eight halves each.
    Words4 keys[kKeys][kStride / kEight];
    Words4 values[kKeys][kStride / kEight];
};

/// A thread's share of the keys and values of a tile, on its way.
template <std::uint32_t kHeadDim, typename Eight>
struct Loads {
    using T = Tile<kHeadDim>;
    Eight keys[T::kLoads], values[T::kLoads];

    /// Keys and values from `end` on are the last ones again: their weights are zero.
    __device__ void start(const CachedHead& key_head, std::uint32_t key_row, const CachedHead& value_head,
                          std::uint32_t value_row, const std::uint32_t* pages, std::uint32_t first, std::uint32_t end) {
        for (std::uint32_t i = 0; i < T::kLoads; ++i) {
            const std::uint32_t at = thread_index() + i * kThreads, wanted = first + at / T::kEights;
            const std::size_t key = kv_row(pages, wanted < end ? wanted : end - 1);
            const std::uint32_t column = at % T::kEights * kEight;
            keys[i] = Eight::load({key_head.at + key * key_row, key_head.type, key_head.head_dim, column});
            values[i] = Eight::load({value_head.at + key * value_row, value_head.type, value_head.head_dim, column});
        }
    }

    __device__ void store(T& tile) const {
        for (std::uint32_t i = 0; i < T::kLoads; ++i) {
            const std::uint32_t at = thread_index() + i * kThreads, row = at / T::kEights;
            tile.keys[row][at % T::kEights] = keys[i].halves();
            tile.values[row][at % T::kEights] = values[i].halves();
        }
    }
};

/// What a lane has of its set's rows l / 4 and l / 4 + 8.
template <std::uint32_t kHeadDim>
struct Running {
    float sums[kHeadDim / 8][4];
    float totals[2];  // of this lane's keys
    float largest[2];
};

template <std::uint32_t kHeadDim>
__device__ inline void load_queries(std::uint32_t (&queries)[kHeadDim / 16][4], const AttentionPush& push,
                                    const AttentionRows& rows, std::uint32_t row) {
    for (std::uint32_t below = 0; below < 2; ++below) {
        const bool exists = row + 8 * below < rows.n();
        const float* q = push.q + (exists ? rows.head(row + 8 * below) : 0) * kHeadDim + lane() % 4 * 2;
        const float scale = exists ? push.scale : 0.0f;
        for (std::uint32_t k = 0; k < kHeadDim / 16; ++k)
            for (std::uint32_t right = 0; right < 2; ++right) {
                const auto two = *reinterpret_cast<const Floats2*>(q + 16 * k + 8 * right);
                queries[k][2 * right + below] = two_halves(two.x * scale, two.y * scale);
            }
    }
}

template <std::uint32_t kHeadDim>
__device__ inline void score(float (&scores)[Tile<kHeadDim>::kKeys / 8][4], const Tile<kHeadDim>& tile,
                             const std::uint32_t (&queries)[kHeadDim / 16][4]) {
    using T = Tile<kHeadDim>;
    for (std::uint32_t key = 0; key < T::kKeys; key += 16) {
        auto& left = scores[key / 8];
        auto& right = scores[key / 8 + 1];
        for (std::uint32_t i = 0; i < 4; ++i) left[i] = right[i] = 0;
        for (std::uint32_t k = 0; k < kHeadDim / 16; ++k) {
            const TwoTiles keys =
                load_tile_columns(reinterpret_cast<const std::uint16_t*>(&tile.keys[key][2 * k]), T::kStride);
            multiply_halves(left, queries[k], keys.left);
            multiply_halves(right, queries[k], keys.right);
        }
    }
}

/// Scores to weights. n_keys: those of the tile that count for the lane's two rows.
template <std::uint32_t kHeadDim>
__device__ inline void weigh(float (&scores)[Tile<kHeadDim>::kKeys / 8][4], Running<kHeadDim>& running,
                             const std::uint32_t (&n_keys)[2]) {
    constexpr std::uint32_t kTiles = Tile<kHeadDim>::kKeys / 8;
    const std::uint32_t first_key = lane() % 4 * 2;
    for (std::uint32_t below = 0; below < 2; ++below) {
        float largest = running.largest[below];
        for (std::uint32_t t = 0; t < kTiles; ++t)
            for (std::uint32_t i = 0; i < 2; ++i) {
                float& each = scores[t][2 * below + i];
                if (8 * t + first_key + i >= n_keys[below]) each = -INFINITY;
                largest = each > largest ? each : largest;
            }
        for (std::uint32_t mask = 2; mask > 0; mask /= 2) {
            const float other = lane_xor(largest, mask);
            largest = other > largest ? other : largest;
        }
        const float shrink = exp2f(running.largest[below] - largest);
        running.largest[below] = largest;
        running.totals[below] *= shrink;
        for (auto& sums : running.sums) {
            sums[2 * below] *= shrink;
            sums[2 * below + 1] *= shrink;
        }
        for (std::uint32_t t = 0; t < kTiles; ++t)
            for (std::uint32_t i = 0; i < 2; ++i) {
                float& each = scores[t][2 * below + i];
                each = exp2f(each - largest);
                running.totals[below] += each;
            }
    }
}

template <std::uint32_t kHeadDim>
__device__ inline void add_values(Running<kHeadDim>& running, const Tile<kHeadDim>& tile,
                                  const float (&weights)[Tile<kHeadDim>::kKeys / 8][4]) {
    using T = Tile<kHeadDim>;
    for (std::uint32_t key = 0; key < T::kKeys; key += 16) {
        const auto& left = weights[key / 8];
        const auto& right = weights[key / 8 + 1];
        const std::uint32_t a[4] = {two_halves(left[0], left[1]), two_halves(left[2], left[3]),
                                    two_halves(right[0], right[1]), two_halves(right[2], right[3])};
        for (std::uint32_t column = 0; column < kHeadDim; column += 16) {
            const TwoTiles values =
                load_tile_rows(reinterpret_cast<const std::uint16_t*>(&tile.values[key][column / kEight]), T::kStride);
            multiply_halves(running.sums[column / 8], a, values.left);
            multiply_halves(running.sums[column / 8 + 1], a, values.right);
        }
    }
}

template <std::uint32_t kHeadDim>
__device__ inline void write(const AttentionPush& push, const AttentionRows& rows, std::uint32_t row,
                             const Running<kHeadDim>& running) {
    for (std::uint32_t below = 0; below < 2; ++below) {
        float total = running.totals[below];
        for (std::uint32_t mask = 2; mask > 0; mask /= 2) total += lane_xor(total, mask);
        if (row + 8 * below >= rows.n()) continue;
        float* out = push.out + rows.head(row + 8 * below) * kHeadDim + lane() % 4 * 2;
        for (std::uint32_t t = 0; t < kHeadDim / 8; ++t)
            *reinterpret_cast<Floats2*>(out + 8 * t) = {running.sums[t][2 * below] / total,
                                                        running.sums[t][2 * below + 1] / total};
    }
}

template <std::uint32_t kHeadDim, typename Eight>
__global__ void __launch_bounds__(kThreads, 2) attention_half_tile(AttentionPush push) {
    begin_kernel();
    using T = Tile<kHeadDim>;
    const AttentionRows rows = rows_of_group(push);
    if (rows.n() == 0) return;
    T& tile = shared_memory<T>();
    const std::uint32_t row = lane_set() * kSetRows + lane() / 4, end = rows.n_keys();
    std::uint32_t n_seen[2];
    for (std::uint32_t below = 0; below < 2; ++below)
        n_seen[below] = row + 8 * below < rows.n() ? rows.n_seen(row + 8 * below) : 0;
    const CachedHead keys{push.keys + std::size_t{group_index().y} * push.key_bytes, push.key_type, kHeadDim, 0};
    const CachedHead values{push.values + std::size_t{group_index().y} * push.value_bytes, push.value_type, kHeadDim,
                            0};
    const std::uint32_t key_row = push.n_head_kv * push.key_bytes, value_row = push.n_head_kv * push.value_bytes;

    Loads<kHeadDim, Eight> loads;
    loads.start(keys, key_row, values, value_row, rows.pages, 0, end);
    std::uint32_t queries[kHeadDim / 16][4];
    load_queries<kHeadDim>(queries, push, rows, row);
    Running<kHeadDim> running;
    for (auto& sums : running.sums)
        for (float& sum : sums) sum = 0;
    for (std::uint32_t below = 0; below < 2; ++below) {
        running.totals[below] = 0;
        running.largest[below] = kLowest;
    }
    for (std::uint32_t first = 0; first < end; first += T::kKeys) {
        loads.store(tile);
        sync_group();
        if (first + T::kKeys < end) loads.start(keys, key_row, values, value_row, rows.pages, first + T::kKeys, end);
        float scores[T::kKeys / 8][4];
        score<kHeadDim>(scores, tile, queries);
        const std::uint32_t n_keys[2] = {n_seen[0] > first ? n_seen[0] - first : 0,
                                         n_seen[1] > first ? n_seen[1] - first : 0};
        weigh<kHeadDim>(scores, running, n_keys);
        add_values<kHeadDim>(running, tile, scores);
        sync_group();
    }
    write<kHeadDim>(push, rows, row, running);
}

template <std::uint32_t kHeadDim, typename Eight>
Kernel half_tile_kernel(const char* name) {
    if constexpr (kHasTiles)
        return make_kernel<Tile<kHeadDim>>(name, attention_half_tile<kHeadDim, Eight>, kThreads);
    else
        return {};
}

}  // namespace

Kernel attention_half_tile_kernel(CacheReads reads, std::uint32_t head_dim) {
    if (reads == CacheReads::kF16)
        return head_dim == 64 ? half_tile_kernel<64, EightHalves>("attention_half_tile_f16_64")
                              : half_tile_kernel<128, EightHalves>("attention_half_tile_f16_128");
    return head_dim == 64 ? half_tile_kernel<64, EightLevels>("attention_half_tile_q8_0_64")
                          : half_tile_kernel<128, EightLevels>("attention_half_tile_q8_0_128");
}

}  // namespace lfm::gpu
