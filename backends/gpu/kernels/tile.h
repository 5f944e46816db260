// Weights times many rows of x: a group brings a tile of both to its shared memory, some columns at a time, and
// multiplies them there. One source of work serves plain matrices and experts.
#pragma once

#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/multiply_item.h"
#include "backends/gpu/kernels/row_set.h"
#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/lanes.h"

namespace lfm::gpu {

/// A matrix, and the rows it is multiplied with.
struct TileWork {
    const std::byte* weight;
    std::uint32_t begin, end;
};
__device__ inline TileWork tile_work(const TilePush& push) {
    if (push.experts == nullptr) {
        const std::uint32_t n = n_rows(*push.step, push.row_set);
        return {push.weight, 0, n >= push.fewest_rows ? n : 0};
    }
    const std::uint32_t e = group_index().y;
    const ExpertEntry expert = push.experts[e];
    return {push.matrix == 0   ? expert.gate
            : push.matrix == 1 ? expert.up
                               : expert.down,
            push.begin[e], push.begin[e + 1]};
}

/// Weight row `row` of this group's tile; the matrix's last for those beyond.
__device__ inline const std::byte* tile_weight_row(const TilePush& push, const TileWork& work, std::uint32_t row) {
    row += group_index().x * kTileRows;
    return work.weight + std::size_t{row < push.n_out ? row : push.n_out - 1} * push.row_bytes;
}
/// The row of x for row `row` of the work; that of the last one for rows beyond.
__device__ inline std::uint32_t tile_input_row(const TilePush& push, const TileWork& work, std::uint32_t row) {
    row = row < work.end ? row : work.end - 1;
    return push.token_of != nullptr ? push.token_of[row] : row;
}

inline constexpr std::uint32_t kTileThreads = 128;

/// Each thread's share of a tile: four weight rows, four rows of x.
struct TileShare {
    std::uint32_t row, token;  // the first of each
};
__device__ inline TileShare tile_share() {
    return {thread_index() % (kTileRows / 4) * 4, thread_index() / (kTileRows / 4) * 4};
}
__device__ inline void store_share(const TilePush& push, const TileWork& work, std::uint32_t first,
                                   const float (&sums)[4][4]) {
    const TileShare share = tile_share();
    const std::uint32_t row = group_index().x * kTileRows + share.row;
#pragma unroll
    for (std::uint32_t t = 0; t < 4; ++t) {
        const std::uint32_t to = first + share.token + t;
        if (to >= work.end) break;
#pragma unroll
        for (std::uint32_t r = 0; r < 4; ++r)
            if (row + r < push.n_out) push.out[std::size_t{to} * push.n_out + row + r] = sums[r][t];
    }
}

/// Two items of columns at a time.
struct TileShared {
    static constexpr std::uint32_t kItems = 2;
    Words4 w[8 * kItems][kTileRows / 4];    // [word][row]
    Words4 x[8 * kItems][kTileTokens / 4];  // [word][row of x]
    float w_scale[2 * kItems][kTileRows], w_min[2 * kItems][kTileRows];
    float x_scale[2 * kItems][kTileTokens], x_sum[2 * kItems][kTileTokens];
};

template <class Weight>
__device__ inline Item load_tile_item(const TilePush& push, const TileWork& work, std::uint32_t first_item) {
    const std::uint32_t item = first_item + thread_index() / kTileRows;
    if (item < push.n_in / kItem)
        return load_item<Weight>(tile_weight_row(push, work, thread_index() % kTileRows), item);
    return {};
}
template <class Weight>
__device__ inline InputItem load_tile_input(const TilePush& push, std::uint32_t x_row, std::uint32_t first_item) {
    const std::uint32_t item = first_item + thread_index() / kTileTokens, n_blocks = push.n_in / 32;
    if (thread_index() >= TileShared::kItems * kTileTokens || item >= n_blocks) return {};
    const std::size_t block = std::size_t{x_row} * n_blocks;
    return load_input<Weight>(reinterpret_cast<const Words4*>(push.input.q) + 2 * block, push.input.scales + block,
                              push.input.sums + block, item);
}

__device__ inline void store_tile_item(TileShared& shared, const Item& item) {
    const std::uint32_t row = thread_index() % kTileRows, which = thread_index() / kTileRows;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        shared.w[8 * which + i][row / 4].at[row % 4] = item.low.level.at[i];
        shared.w[8 * which + 4 + i][row / 4].at[row % 4] = item.high.level.at[i];
    }
    shared.w_scale[2 * which][row] = item.low.scale;
    shared.w_scale[2 * which + 1][row] = item.high.scale;
    shared.w_min[2 * which][row] = item.low.min;
    shared.w_min[2 * which + 1][row] = item.high.min;
}
__device__ inline void store_tile_input(TileShared& shared, const InputItem& x) {
    if (thread_index() >= TileShared::kItems * kTileTokens) return;
    const std::uint32_t token = thread_index() % kTileTokens, which = thread_index() / kTileTokens;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        shared.x[8 * which + i][token / 4].at[token % 4] = x.low.at[i];
        shared.x[8 * which + 4 + i][token / 4].at[token % 4] = x.high.at[i];
    }
    shared.x_scale[2 * which][token] = x.low_scale;
    shared.x_scale[2 * which + 1][token] = x.high_scale;
    shared.x_sum[2 * which][token] = static_cast<float>(x.low_sum);
    shared.x_sum[2 * which + 1][token] = static_cast<float>(x.high_sum);
}

/// Adds the products of one run.
template <class Weight>
__device__ inline void multiply_run(const TileShared& shared, std::uint32_t run, float (&sums)[4][4]) {
    const TileShare share = tile_share();
    std::int32_t total[4][4] = {};
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        const Words4 w = shared.w[4 * run + i][share.row / 4], x = shared.x[4 * run + i][share.token / 4];
#pragma unroll
        for (std::uint32_t r = 0; r < 4; ++r)
#pragma unroll
            for (std::uint32_t t = 0; t < 4; ++t) total[r][t] = dot4(w.at[r], x.at[t], total[r][t]);
    }
#pragma unroll
    for (std::uint32_t r = 0; r < 4; ++r) {
        const float scale = shared.w_scale[run][share.row + r];
#pragma unroll
        for (std::uint32_t t = 0; t < 4; ++t) {
            float result = scale * static_cast<float>(total[r][t]);
            if constexpr (Weight::kHasMin)
                result -= shared.w_min[run][share.row + r] * shared.x_sum[run][share.token + t];
            sums[r][t] += shared.x_scale[run][share.token + t] * result;
        }
    }
}

/// On quantised activations.
template <class Weight>
__global__ void __launch_bounds__(kTileThreads) tile(TilePush push) {
    begin_kernel();
    TileShared& shared = shared_memory<TileShared>();
    const TileWork work = tile_work(push);
    for (std::uint32_t first = work.begin + group_index().z * kTileTokens; first < work.end;
         first += n_groups().z * kTileTokens) {
        const std::uint32_t x_row = tile_input_row(push, work, first + thread_index() % kTileTokens);
        Item w = load_tile_item<Weight>(push, work, 0);
        InputItem x = load_tile_input<Weight>(push, x_row, 0);
        float sums[4][4] = {};
        for (std::uint32_t item = 0; item < push.n_in / kItem; item += TileShared::kItems) {
            sync_group();  // the last columns are multiplied
            store_tile_item(shared, w);
            store_tile_input(shared, x);
            sync_group();
            w = load_tile_item<Weight>(push, work, item + TileShared::kItems);
            x = load_tile_input<Weight>(push, x_row, item + TileShared::kItems);
            if (first + tile_share().token >= work.end) continue;
#pragma unroll 1
            for (std::uint32_t run = 0; run < 2 * TileShared::kItems; ++run) multiply_run<Weight>(shared, run, sums);
        }
        store_share(push, work, first, sums);
    }
}

/// One item of columns at a time, in f32.
struct FloatTileShared {
    float w[32][kTileRows];
    float x[32][kTileTokens];
};

/// On activations as they are.
template <class Weight>
__global__ void __launch_bounds__(kTileThreads) tile_float(TilePush push) {
    begin_kernel();
    FloatTileShared& shared = shared_memory<FloatTileShared>();
    const TileWork work = tile_work(push);
    const std::uint32_t me = thread_index();
    const bool wide = rows_are_wide<Weight>(work.weight, push.row_bytes, push.n_in);
    const TileShare share = tile_share();
    for (std::uint32_t first = work.begin + group_index().z * kTileTokens; first < work.end;
         first += n_groups().z * kTileTokens) {
        const float* x = push.input.x + std::size_t{tile_input_row(push, work, first + me % kTileTokens)} * push.n_in;
        float sums[4][4] = {};
        for (std::uint32_t item = 0; 32 * item < push.n_in; ++item) {
            sync_group();  // the last columns are multiplied
            if (me < kTileRows) {
                float w[32];
                load_values<Weight>(tile_weight_row(push, work, me), item, push.n_in, wide, w);
#pragma unroll
                for (std::uint32_t i = 0; i < 32; ++i) shared.w[i][me] = w[i];
            } else if (me < kTileRows + kTileTokens) {
#pragma unroll
                for (std::uint32_t i = 0; i < 32; ++i) {
                    const std::uint32_t column = column_of<Weight>(item, i);
                    shared.x[i][me % kTileTokens] = column < push.n_in ? x[column] : 0;
                }
            }
            sync_group();
            if (first + share.token >= work.end) continue;
#pragma unroll 4
            for (std::uint32_t i = 0; i < 32; ++i) {
                float w[4], of_x[4];
#pragma unroll
                for (std::uint32_t j = 0; j < 4; ++j) {
                    w[j] = shared.w[i][share.row + j];
                    of_x[j] = shared.x[i][share.token + j];
                }
#pragma unroll
                for (std::uint32_t r = 0; r < 4; ++r)
#pragma unroll
                    for (std::uint32_t t = 0; t < 4; ++t) sums[r][t] += w[r] * of_x[t];
            }
        }
        store_share(push, work, first, sums);
    }
}

}  // namespace lfm::gpu
