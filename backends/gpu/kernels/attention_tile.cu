// Attention of many tokens, for any cache and any processor: a group takes a tile of tokens and the query heads that
// share a key/value head, a row each, and goes through the keys a tile at a time with a running softmax.
//
// Scores: a thread takes a few rows and keys. Weights: neighbouring lanes share a row. Results: a thread takes four
// rows and four columns. The tile of values replaces that of keys once there are scores.
#include <cmath>

#include "backends/gpu/kernels/attention_rows.h"
#include "backends/gpu/kernels/cached_values.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr float kLowest = -3.4e38f;
constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kFour = 4;

template <std::uint32_t kHeadDim>
struct Tile {
    static constexpr std::uint32_t kRows = rows_of_tile(kHeadDim);
    static constexpr std::uint32_t kKeys = kHeadDim <= 128 ? 32 : 16;
    static constexpr std::uint32_t kFours = kHeadDim / kFour;
    static constexpr std::uint32_t kSides = 16;  // threads along the keys and along the rows of the scores
    static constexpr std::uint32_t kScoreKeys = kKeys / kSides, kScoreRows = kRows / kSides;
    static constexpr std::uint32_t kThreadsOfRow = kThreads / kRows;
    static constexpr std::uint32_t kKeysOfThread = kKeys / kThreadsOfRow;
    static_assert(kKeys % kThreadsOfRow == 0 && kLanes % kThreadsOfRow == 0);
    static_assert(kThreads / kFours * kFour == kRows);

    // One more than needed, so that neighbouring rows lie in different banks.
    Floats4 queries[kRows][kFours + 1];
    Floats4 cached[kKeys][kFours + 1];
    Floats4 scores[kRows][kKeys / kFour + 1];
    float shrinks[kRows];
    float totals[kRows];
};

__device__ inline float dot(const Floats4& a, const Floats4& b, float sum) {
    return a.w * b.w + (a.z * b.z + (a.y * b.y + (a.x * b.x + sum)));
}
__device__ inline void add(Floats4& sum, float weight, const Floats4& x) {
    sum = {sum.x + weight * x.x, sum.y + weight * x.y, sum.z + weight * x.z, sum.w + weight * x.w};
}

/// Loads keys or values from `first` on into shared memory, zeros from `end` on.
template <std::uint32_t kHeadDim>
__device__ inline void load_tile(Tile<kHeadDim>& tile, const CachedHead& head, std::uint32_t row_bytes,
                                 const std::uint32_t* pages, std::uint32_t first, std::uint32_t end) {
    constexpr std::uint32_t kEights = kHeadDim / kEight;
    for (std::uint32_t i = thread_index(); i < Tile<kHeadDim>::kKeys * kEights; i += kThreads) {
        const std::uint32_t key = i / kEights, eighth = i % kEights;
        EightOfAny eight{};
        if (first + key < end)
            eight = EightOfAny::load({head.at + std::size_t{kv_row(pages, first + key)} * row_bytes, head.type,
                                      head.head_dim, eighth * kEight});
        const float(&x)[kEight] = eight.values;
        tile.cached[key][2 * eighth] = {x[0], x[1], x[2], x[3]};
        tile.cached[key][2 * eighth + 1] = {x[4], x[5], x[6], x[7]};
    }
}

template <std::uint32_t kHeadDim>
__device__ inline void score_tile(Tile<kHeadDim>& tile, std::uint32_t n_rows) {
    using T = Tile<kHeadDim>;
    const std::uint32_t first_key = thread_index() % T::kSides, first_row = thread_index() / T::kSides * T::kScoreRows;
    if (first_row >= n_rows) return;
    float sums[T::kScoreRows][T::kScoreKeys] = {};
    for (std::uint32_t d = 0; d < T::kFours; ++d) {
        Floats4 keys[T::kScoreKeys];
        for (std::uint32_t j = 0; j < T::kScoreKeys; ++j) keys[j] = tile.cached[first_key + j * T::kSides][d];
        for (std::uint32_t i = 0; i < T::kScoreRows; ++i) {
            const Floats4 query = tile.queries[first_row + i][d];
            for (std::uint32_t j = 0; j < T::kScoreKeys; ++j) sums[i][j] = dot(query, keys[j], sums[i][j]);
        }
    }
    for (std::uint32_t i = 0; i < T::kScoreRows; ++i)
        for (std::uint32_t j = 0; j < T::kScoreKeys; ++j)
            reinterpret_cast<float*>(tile.scores[first_row + i])[first_key + j * T::kSides] = sums[i][j];
}

/// A row's softmax so far, in each of its threads.
struct Weighed {
    float largest = kLowest;
    float total = 0;  // of this thread's keys
};

/// Scores to weights, relative to the largest so far. n_keys: those of the tile that count for this thread's row.
template <std::uint32_t kHeadDim>
__device__ inline void weigh_tile(Tile<kHeadDim>& tile, Weighed& weighed, std::uint32_t n_keys) {
    using T = Tile<kHeadDim>;
    const std::uint32_t row = thread_index() / T::kThreadsOfRow, part = thread_index() % T::kThreadsOfRow;
    float* scores = reinterpret_cast<float*>(tile.scores[row]);
    float largest = weighed.largest;
    for (std::uint32_t i = 0; i < T::kKeysOfThread; ++i) {
        const std::uint32_t key = part + i * T::kThreadsOfRow;
        if (key < n_keys) largest = scores[key] > largest ? scores[key] : largest;
    }
    for (std::uint32_t mask = T::kThreadsOfRow / 2; mask > 0; mask /= 2) {
        const float other = lane_xor(largest, mask);
        largest = other > largest ? other : largest;
    }
    const float shrink = exp2f(weighed.largest - largest);
    weighed.total *= shrink;
    weighed.largest = largest;
    for (std::uint32_t i = 0; i < T::kKeysOfThread; ++i) {
        const std::uint32_t key = part + i * T::kThreadsOfRow;
        const float weight = key < n_keys ? exp2f(scores[key] - largest) : 0.0f;
        weighed.total += weight;
        scores[key] = weight;
    }
    if (part == 0) tile.shrinks[row] = shrink;
}

template <std::uint32_t kHeadDim>
__device__ inline void add_tile(const Tile<kHeadDim>& tile, Floats4 (&sums)[kFour]) {
    using T = Tile<kHeadDim>;
    const std::uint32_t column = thread_index() % T::kFours, first_row = thread_index() / T::kFours * kFour;
    for (std::uint32_t i = 0; i < kFour; ++i) {
        const float shrink = tile.shrinks[first_row + i];
        sums[i] = {sums[i].x * shrink, sums[i].y * shrink, sums[i].z * shrink, sums[i].w * shrink};
    }
    for (std::uint32_t four = 0; four < T::kKeys / kFour; ++four) {
        Floats4 values[kFour];
        for (std::uint32_t j = 0; j < kFour; ++j) values[j] = tile.cached[four * kFour + j][column];
        for (std::uint32_t i = 0; i < kFour; ++i) {
            const Floats4 weights = tile.scores[first_row + i][four];
            add(sums[i], weights.x, values[0]);
            add(sums[i], weights.y, values[1]);
            add(sums[i], weights.z, values[2]);
            add(sums[i], weights.w, values[3]);
        }
    }
}

template <std::uint32_t kHeadDim>
__global__ void __launch_bounds__(kThreads, groups_with(128)) attention_tile(AttentionPush push) {
    begin_kernel();
    using T = Tile<kHeadDim>;
    const AttentionRows rows = rows_of_group(push);
    const std::uint32_t n_rows = rows.n(), n_fours = push.head_dim / kFour;
    if (n_rows == 0) return;
    T& tile = shared_memory<T>();
    for (std::uint32_t i = thread_index(); i < T::kRows * T::kFours; i += kThreads) {
        const std::uint32_t row = i / T::kFours, four = i % T::kFours;
        Floats4 x{0, 0, 0, 0};
        if (row < n_rows && four < n_fours)
            x = reinterpret_cast<const Floats4*>(push.q)[rows.head(row) * n_fours + four];
        tile.queries[row][four] = {x.x * push.scale, x.y * push.scale, x.z * push.scale, x.w * push.scale};
    }
    const CachedHead keys{push.keys + std::size_t{group_index().y} * push.key_bytes, push.key_type, push.head_dim, 0};
    const CachedHead values{push.values + std::size_t{group_index().y} * push.value_bytes, push.value_type,
                            push.head_dim, 0};
    const std::uint32_t key_row = push.n_head_kv * push.key_bytes, value_row = push.n_head_kv * push.value_bytes;

    const std::uint32_t weighed_row = thread_index() / T::kThreadsOfRow;
    const std::uint32_t n_seen = weighed_row < n_rows ? rows.n_seen(weighed_row) : 0, end = rows.n_keys();
    const std::uint32_t column = thread_index() % T::kFours, first_row = thread_index() / T::kFours * kFour;
    Weighed weighed;
    Floats4 sums[kFour] = {};
    for (std::uint32_t first = 0; first < end; first += T::kKeys) {
        load_tile(tile, keys, key_row, rows.pages, first, end);
        sync_group();
        score_tile(tile, n_rows);
        sync_group();
        load_tile(tile, values, value_row, rows.pages, first, end);
        weigh_tile(tile, weighed, n_seen > first ? n_seen - first : 0);
        sync_group();
        if (first_row < n_rows) add_tile(tile, sums);
        sync_group();
    }
    float total = weighed.total;
    for (std::uint32_t mask = T::kThreadsOfRow / 2; mask > 0; mask /= 2) total += lane_xor(total, mask);
    if (thread_index() % T::kThreadsOfRow == 0) tile.totals[weighed_row] = total;
    sync_group();
    for (std::uint32_t i = 0; i < kFour; ++i) {
        const std::uint32_t row = first_row + i;
        if (row >= n_rows || column >= n_fours) continue;
        const float of_row = tile.totals[row];
        reinterpret_cast<Floats4*>(push.out)[rows.head(row) * n_fours + column] = {
            sums[i].x / of_row, sums[i].y / of_row, sums[i].z / of_row, sums[i].w / of_row};
    }
}

template <std::uint32_t kHeadDim>
Kernel tile_kernel(const char* name) {
    static_assert(sizeof(Tile<kHeadDim>) <= 48 * 1024);
    return make_kernel<Tile<kHeadDim>>(name, attention_tile<kHeadDim>, kThreads);
}

}  // namespace

Kernel attention_tile_kernel(std::uint32_t head_dim) {
    if (head_dim <= 64) return tile_kernel<64>("attention_tile_64");
    if (head_dim <= 128) return tile_kernel<128>("attention_tile_128");
    return tile_kernel<256>("attention_tile_256");
}

}  // namespace lfm::gpu
