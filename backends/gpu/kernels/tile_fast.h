// Weights times many rows of x by products of small matrices (platform/tiles.h). Each of a group's four sets of lanes
// takes 32 weight rows and 32 rows of x of its tile. While one part of the columns is multiplied, the next is loaded.
#pragma once

#include "backends/gpu/kernels/tile.h"
#include "backends/gpu/platform/tiles.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kFastTileTokens = 64;

/// A set's products: [weight rows / 16][rows of x / 8][as platform/tiles.h has it].
using FastSums = float[2][4][4];

/// What a set of lanes multiplies, and this lane's part of a product.
struct FastShare {
    __device__ FastShare() : row(lane_set() % 2 * 32), token(lane_set() / 2 * 32), g(lane() / 4), t(lane() % 4) {}
    std::uint32_t row, token;  // the first of each
    std::uint32_t g, t;
};

__device__ inline void store_fast_sums(const TilePush& push, const TileWork& work, std::uint32_t first,
                                       const FastSums& sums) {
    const FastShare share;
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i)
#pragma unroll
        for (std::uint32_t j = 0; j < 4; ++j)
#pragma unroll
            for (std::uint32_t k = 0; k < 4; ++k) {
                const std::uint32_t row = group_index().x * kTileRows + share.row + 16 * i + share.g + k / 2 * 8;
                const std::uint32_t to = first + share.token + 8 * j + 2 * share.t + k % 2;
                if (row < push.n_out && to < work.end) push.out[std::size_t{to} * push.n_out + row] = sums[i][j][k];
            }
}

/// 64 columns of quantised weights and activations: two items, brought to two blocks of 32 columns each.
struct FastTileShared {
    struct Stage {
        // Rows of 64 bytes; the fifth part keeps the rows that lanes read together in banks of their own.
        Words4 w[kTileRows][5];
        Words4 x[kFastTileTokens][5];
        float w_scale[4][kTileRows], w_min[4][kTileRows];  // of each run
        // Of each block; and with the sum of each run, or of the block where runs share their minimum.
        float x_scale[2][kFastTileTokens], x_sum[4][kFastTileTokens];
    };
    Stage stages[2];
};

/// One thread's part of a stage on its way there.
struct FastTilePart {
    Item w;
    Words4 x[2];
    float x_scale;
    std::uint32_t x_sums;
};

/// The rows of x that a thread loads.
struct FastTileRows {
    std::uint32_t levels[2], scale;
};

/// A pair of items; which blocks of 32 columns they make up.
template <class Weight>
__device__ inline std::uint32_t block_of_pair(std::uint32_t pair, std::uint32_t half) {
    if constexpr (Weight::kOrder == RunOrder::kFourApart) return 4 * (pair / 2) + pair % 2 + 2 * half;
    return 2 * pair + half;
}

template <class Weight>
__device__ inline FastTilePart load_part(const TilePush& push, const std::byte* weight_row, const FastTileRows& rows,
                                         std::uint32_t pair) {
    const std::uint32_t me = thread_index(), n_blocks = push.n_in / 32;
    FastTilePart part{};
    if (const std::uint32_t item = 2 * pair + me % 2; item < n_blocks) part.w = Weight::load(weight_row, item);
    const Words4* q = reinterpret_cast<const Words4*>(push.input.q);
    if (const std::uint32_t block = block_of_pair<Weight>(pair, me / 2 % 2); block < n_blocks) {
#pragma unroll
        for (std::uint32_t i = 0; i < 2; ++i)
            part.x[i] = q[(std::size_t{rows.levels[i]} * n_blocks + block) * 2 + me % 2];
    }
    if (const std::uint32_t block = block_of_pair<Weight>(pair, me / kFastTileTokens); block < n_blocks) {
        const std::size_t at = std::size_t{rows.scale} * n_blocks + block;
        part.x_scale = push.input.scales[at];
        if constexpr (Weight::kHasMin) part.x_sums = push.input.sums[at];
    }
    return part;
}

template <class Weight>
__device__ inline void store_part(FastTileShared::Stage& stage, const FastTilePart& part) {
    const std::uint32_t me = thread_index(), row = me / 2, item = me % 2;
    // Where the item's runs come to lie: each half of the row is a block of 32 columns.
    const std::uint32_t low = Weight::kOrder == RunOrder::kPlain ? 2 * item : item;
    const std::uint32_t high = Weight::kOrder == RunOrder::kPlain ? 2 * item + 1 : 2 + item;
    stage.w[row][low] = part.w.low.level;
    stage.w[row][high] = part.w.high.level;
    stage.w_scale[low][row] = part.w.low.scale;
    stage.w_scale[high][row] = part.w.high.scale;
    if constexpr (Weight::kHasMin) {
        stage.w_min[low][row] = part.w.low.min;
        stage.w_min[high][row] = part.w.high.min;
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i) stage.x[me / 4 + 32 * i][me % 4] = part.x[i];
    const std::uint32_t token = me % kFastTileTokens, half = me / kFastTileTokens;
    stage.x_scale[half][token] = part.x_scale;
    if constexpr (Weight::kHasMin) {
        const float low_sum = static_cast<float>(sum_of_run(part.x_sums, 0));
        const float high_sum = static_cast<float>(sum_of_run(part.x_sums, 1));
        stage.x_sum[2 * half][token] = part.x_scale * (Weight::kOneScale ? low_sum + high_sum : low_sum);
        stage.x_sum[2 * half + 1][token] = part.x_scale * high_sum;
    }
}

// A sum of 32 products of bytes lies within 2^22 of zero. Added to the bits of 1.5 · 2^23, it makes those of that
// number plus the sum, which spares a conversion.
inline constexpr std::int32_t kSumBias = 0x4b400000;
__device__ inline float sum_of_bits(std::int32_t bits) {
    return float_of_bits(static_cast<std::uint32_t>(bits)) - 12582912.0f;
}

/// Adds the products of a block of 32 columns.
template <class Weight>
__device__ inline void multiply_block(const FastTileShared::Stage& stage, std::uint32_t half, FastSums& sums) {
    const FastShare share;
    std::uint32_t a[2][4];
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i)
#pragma unroll
        for (std::uint32_t k = 0; k < 4; ++k)
            a[i][k] = stage.w[share.row + 16 * i + share.g + k % 2 * 8][2 * half + k / 2].at[share.t];
    constexpr std::uint32_t kScales = Weight::kOneScale ? 1 : 2;
    float w_scale[kScales][4], w_min[kScales][4];
#pragma unroll
    for (std::uint32_t s = 0; s < kScales; ++s)
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            w_scale[s][i] = stage.w_scale[2 * half + s][share.row + 8 * i + share.g];
            if constexpr (Weight::kHasMin) w_min[s][i] = stage.w_min[2 * half + s][share.row + 8 * i + share.g];
        }
#pragma unroll
    for (std::uint32_t j = 0; j < 4; ++j) {
        const Words4* x = stage.x[share.token + 8 * j + share.g] + 2 * half;
        const std::uint32_t b[2] = {x[0].at[share.t], x[1].at[share.t]};
        const std::uint32_t token = share.token + 8 * j + 2 * share.t;
        const float x_scale[2] = {stage.x_scale[half][token], stage.x_scale[half][token + 1]};
        float x_sum[kScales][2];
#pragma unroll
        for (std::uint32_t s = 0; s < kScales; ++s)
#pragma unroll
            for (std::uint32_t k = 0; k < 2; ++k)
                if constexpr (Weight::kHasMin) x_sum[s][k] = stage.x_sum[2 * half + s][token + k];
#pragma unroll
        for (std::uint32_t i = 0; i < 2; ++i)
#pragma unroll
            for (std::uint32_t s = 0; s < kScales; ++s) {
                std::int32_t bits[4] = {kSumBias, kSumBias, kSumBias, kSumBias};
                if constexpr (Weight::kOneScale) {
                    multiply_bytes(bits, a[i], b);
                } else {
                    const std::uint32_t of_run[2] = {a[i][2 * s], a[i][2 * s + 1]};
                    const std::uint32_t of_x[1] = {b[s]};
                    multiply_bytes(bits, of_run, of_x);
                }
#pragma unroll
                for (std::uint32_t k = 0; k < 4; ++k) {
                    sums[i][j][k] += w_scale[s][2 * i + k / 2] * x_scale[k % 2] * sum_of_bits(bits[k]);
                    if constexpr (Weight::kHasMin) sums[i][j][k] -= w_min[s][2 * i + k / 2] * x_sum[s][k % 2];
                }
            }
    }
}

/// On quantised activations.
template <class Weight>
__global__ void __launch_bounds__(kTileThreads) tile_fast(TilePush push) {
    static_assert(kTileThreads == 2 * kTileRows && kTileThreads == 2 * kFastTileTokens);
    FastTileShared& shared = shared_memory<FastTileShared>();
    const TileWork work = tile_work(push);
    const std::uint32_t me = thread_index(), n_pairs = (push.n_in / kItem + 1) / 2;
    const std::byte* weight_row = tile_weight_row(push, work, me / 2);
    for (std::uint32_t first = work.begin + group_index().z * kFastTileTokens; first < work.end;
         first += n_groups().z * kFastTileTokens) {
        const FastTileRows rows{
            {tile_input_row(push, work, first + me / 4), tile_input_row(push, work, first + me / 4 + 32)},
            tile_input_row(push, work, first + me % kFastTileTokens)};
        const bool has_tokens = first + FastShare().token < work.end;
        FastSums sums = {};
        FastTilePart part = load_part<Weight>(push, weight_row, rows, 0);
        store_part<Weight>(shared.stages[0], part);
        sync_group();
        for (std::uint32_t pair = 0; pair < n_pairs; ++pair) {
            if (pair + 1 < n_pairs) part = load_part<Weight>(push, weight_row, rows, pair + 1);
            if (has_tokens) {
                multiply_block<Weight>(shared.stages[pair % 2], 0, sums);
                multiply_block<Weight>(shared.stages[pair % 2], 1, sums);
            }
            if (pair + 1 < n_pairs) store_part<Weight>(shared.stages[(pair + 1) % 2], part);
            sync_group();
        }
        store_fast_sums(push, work, first, sums);
    }
}

/// 32 columns of F16 or BF16 weights, which are exact in TF32, and of activations, which are rounded to it: an error of
/// 2e-8 of a product's NMSE, and no range that activations could leave.
struct HalfTileShared {
    struct Stage {
        // The four columns more keep the rows that lanes read together in banks of their own.
        float w[kTileRows][36];
        float x[kFastTileTokens][36];
    };
    Stage stages[2];
};

/// One thread's part of a stage: 16 columns of a weight row and of a row of x.
struct HalfTilePart {
    float w[16], x[16];
};

template <class Weight>
__device__ inline HalfTilePart load_half_part(const TilePush& push, const std::byte* weight_row, const float* x,
                                              bool wide, std::uint32_t item) {
    const std::uint32_t first = 32 * item + 16 * (thread_index() % 2);
    HalfTilePart part{};
    if (wide) {
#pragma unroll
        for (std::uint32_t i = 0; i < 16; i += 8) {
            if (first + i >= push.n_in) break;
            float eight[8];
            Weight::load_eight(weight_row + std::size_t{first + i} * Weight::kBytes, eight);
            const std::byte* from = reinterpret_cast<const std::byte*>(x + first + i);
            const Words4 low = load<Words4>(from), high = load<Words4>(from + 16);
#pragma unroll
            for (std::uint32_t j = 0; j < 8; ++j) {
                part.w[i + j] = eight[j];
                part.x[i + j] = float_of_bits(j < 4 ? low.at[j % 4] : high.at[j % 4]);
            }
        }
        return part;
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 16; ++i) {
        if (first + i >= push.n_in) break;
        part.w[i] = Weight::load_one(weight_row + std::size_t{first + i} * Weight::kBytes);
        part.x[i] = x[first + i];
    }
    return part;
}

__device__ inline void store_half_part(HalfTileShared::Stage& stage, const HalfTilePart& part) {
    const std::uint32_t row = thread_index() / 2, first = 16 * (thread_index() % 2);
#pragma unroll
    for (std::uint32_t i = 0; i < 16; ++i) {
        stage.w[row][first + i] = part.w[i];
        stage.x[row][first + i] = rounded_to_tf32(part.x[i]);
    }
}

__device__ inline void multiply_half_stage(const HalfTileShared::Stage& stage, FastSums& sums) {
    const FastShare share;
#pragma unroll
    for (std::uint32_t first = 0; first < 32; first += 8) {
        float a[2][4];
#pragma unroll
        for (std::uint32_t i = 0; i < 2; ++i)
#pragma unroll
            for (std::uint32_t k = 0; k < 4; ++k)
                a[i][k] = stage.w[share.row + 16 * i + share.g + k % 2 * 8][first + share.t + k / 2 * 4];
#pragma unroll
        for (std::uint32_t j = 0; j < 4; ++j) {
            const float* x = stage.x[share.token + 8 * j + share.g] + first + share.t;
            const float b[2] = {x[0], x[4]};
#pragma unroll
            for (std::uint32_t i = 0; i < 2; ++i) multiply_tf32(sums[i][j], a[i], b);
        }
    }
}

template <class Weight>
__global__ void __launch_bounds__(kTileThreads) tile_half(TilePush push) {
    HalfTileShared& shared = shared_memory<HalfTileShared>();
    const TileWork work = tile_work(push);
    const std::uint32_t me = thread_index(), n_items = (push.n_in + 31) / 32;
    const std::byte* weight_row = tile_weight_row(push, work, me / 2);
    const bool wide = rows_are_wide<Weight>(work.weight, push.row_bytes, push.n_in) &&
                      (reinterpret_cast<std::uintptr_t>(push.input.x) & 15) == 0;
    for (std::uint32_t first = work.begin + group_index().z * kFastTileTokens; first < work.end;
         first += n_groups().z * kFastTileTokens) {
        const float* x = push.input.x + std::size_t{tile_input_row(push, work, first + me / 2)} * push.n_in;
        const bool has_tokens = first + FastShare().token < work.end;
        FastSums sums = {};
        HalfTilePart part = load_half_part<Weight>(push, weight_row, x, wide, 0);
        store_half_part(shared.stages[0], part);
        sync_group();
        for (std::uint32_t item = 0; item < n_items; ++item) {
            if (item + 1 < n_items) part = load_half_part<Weight>(push, weight_row, x, wide, item + 1);
            if (has_tokens) multiply_half_stage(shared.stages[item % 2], sums);
            if (item + 1 < n_items) store_half_part(shared.stages[(item + 1) % 2], part);
            sync_group();
        }
        store_fast_sums(push, work, first, sums);
    }
}

}  // namespace lfm::gpu
