// How quantised weights and activations come to shared memory, a stage of 64 columns at a time, and sums from the lanes
// to memory: what surrounds tile_fast.h's products.
#pragma once

#include "backends/gpu/kernels/tile.h"
#include "backends/gpu/kernels/tile_places.h"
#include "backends/gpu/kernels/wide.h"
#include "backends/gpu/platform/copies.h"
#include "backends/gpu/platform/shared_places.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kFastTileRows = 64;

/// A lane's sums: [each 16 of the set's weight rows][each 8 of its rows of x][as platform/tiles.h has them].
template <std::uint32_t kEights>
using FastSums = float[2][kEights][4];

/// What a set of lanes multiplies, and this lane's part of a product. Of the set's 32 weight rows a lane has four
/// neighbours, from 4 g on; of each eight rows of x two, from 2 t on.
template <std::uint32_t kEights>
struct FastShare {
    static constexpr std::uint32_t kTokens = 2 * 8 * kEights;  // of the group

    __device__ FastShare()
        : row(lane_set() % 2 * 32), token(lane_set() / 2 * (kTokens / 2)), g(lane() / 4), t(lane() % 4) {}
    /// How many of a tile's n rows of x there are from the set's first one on.
    __device__ std::uint32_t n_tokens(std::uint32_t n) const { return n > token ? n - token : 0; }

    std::uint32_t row, token;  // the first of each
    std::uint32_t g, t;
};

template <std::uint32_t kEights>
__device__ inline void store_fast_sums(const TilePush& push, const TileWork& work, std::uint32_t first,
                                       const FastSums<kEights>& sums) {
    const FastShare<kEights> share;
    const std::uint32_t row = group_index().x * kFastTileRows + share.row + 4 * share.g;
    const bool wide = push.n_out % 4 == 0 && (reinterpret_cast<std::uintptr_t>(push.out) & 15) == 0;
#pragma unroll
    for (std::uint32_t j = 0; j < kEights; ++j)
#pragma unroll
        for (std::uint32_t k = 0; k < 2; ++k) {
            const std::uint32_t to = first + share.token + 8 * j + 2 * share.t + k;
            if (to >= work.end) continue;
            float* out = push.out + std::size_t{to} * push.n_out + row;
            const float four[4] = {sums[0][j][k], sums[0][j][2 + k], sums[1][j][k], sums[1][j][2 + k]};
            if (wide) {
                if (row < push.n_out) *reinterpret_cast<Floats4*>(out) = {four[0], four[1], four[2], four[3]};
                continue;
            }
#pragma unroll
            for (std::uint32_t r = 0; r < 4; ++r)
                if (row + r < push.n_out) out[r] = four[r];
        }
}

/// Where scales, minima and sums of a block of 32 columns lie. Weights have them for each run of 16 where the two runs
/// of a block may differ. Sizes are such that what lanes store together in two blocks or runs lies in different banks.
template <class Weight, std::uint32_t kEights>
struct FastBlock {
    static constexpr std::uint32_t kTokens = FastShare<kEights>::kTokens;
    static constexpr std::uint32_t kRuns = Weight::kOneScale ? 1 : 2;
    static constexpr std::uint32_t kMins = Weight::kHasMin ? kRuns : 0, kApart = 16 * (kRuns - 1);

    // Places of each run, and of the activations.
    static constexpr std::uint32_t kScaleStride = sizeof(Floats2) * (kFastTileRows + 8);
    static constexpr std::uint32_t kMinStride = sizeof(float) * (kFastTileRows + kApart);
    static constexpr std::uint32_t kSumStride = sizeof(float) * (kTokens + kApart);
    static constexpr std::uint32_t kInputScales = kRuns * kScaleStride;
    static constexpr std::uint32_t kMin = kInputScales + kSumStride;
    static constexpr std::uint32_t kSum = kMin + kMins * kMinStride;
    static constexpr std::uint32_t kBytes = kSum + kMins * kSumStride;
    static_assert(kBytes % 128 == 64);
};

/// 64 columns of quantised weights and activations: two items, brought to two blocks of 32 columns each.
template <class Weight, std::uint32_t kEights>
struct FastTileShared {
    using Block = FastBlock<Weight, kEights>;
    static constexpr std::uint32_t kInput = 4 * sizeof(Words4) * kFastTileRows;
    static constexpr std::uint32_t kBlocks = kInput + 4 * sizeof(Words4) * Block::kTokens;
    static constexpr std::uint32_t kStage = kBlocks + 2 * Block::kBytes;

    alignas(16) std::byte stages[2][kStage];
};

/// One thread's part of a stage that is on its way through registers.
template <class Weight, std::uint32_t kEights>
struct FastTilePart {
    typename Weight::Raw w;
    float x_scale[kEights / 4];
    std::uint32_t x_sums[kEights / 4];
};

/// The two items of a stage cover two blocks of 32 columns: the block that stands in the same half of the stage as
/// `item`.
template <class Weight>
__device__ inline std::uint32_t block_of_item(std::uint32_t item) {
    if constexpr (Weight::kOrder == RunOrder::kFourApart) return item / 4 * 4 + item / 2 % 2 + item % 2 * 2;
    return item;
}

/// Where a thread loads its part of each stage from, and where in the stage it goes: an item of a weight row, 16
/// columns of every 32nd row of x, the scale of a block of every 64th; all of one half of the stage.
template <class Weight, std::uint32_t kEights>
struct FastTileLoads {
    using Shared = FastTileShared<Weight, kEights>;
    using Block = typename Shared::Block;
    static constexpr bool kIsPlain = Weight::kOrder == RunOrder::kPlain;
    static constexpr std::uint32_t kLevels = kEights / 2, kScales = kEights / 4;

    __device__ FastTileLoads(const TilePush& push, const TileWork& work, std::uint32_t first) {
        const std::uint32_t me = thread_index(), n_blocks = push.n_in / 32, half = fast_half(me);
        const std::uint32_t row = fast_weight_row(me), token = fast_input_row(me), scale_token = fast_scale_row(me);
        const std::uint32_t weight_row = group_index().x * kFastTileRows + row;
        weights = work.weight + std::size_t{weight_row < push.n_out ? weight_row : push.n_out - 1} * push.row_bytes;
#pragma unroll
        for (std::uint32_t i = 0; i < kLevels; ++i)
            levels[i] = tile_input_row(push, work, first + token + 32 * i) * n_blocks * 2 + me % 2;
#pragma unroll
        for (std::uint32_t i = 0; i < kScales; ++i)
            scales[i] = tile_input_row(push, work, first + scale_token + 64 * i) * n_blocks;
        // In plain order an item is the block of its half; else its two runs belong to different blocks.
        const std::uint32_t to_block = Shared::kBlocks + (kIsPlain ? half * Block::kBytes : 0);
        const std::uint32_t to_run = kIsPlain || Weight::kOneScale ? 0 : half;
        to_weights = kept(sizeof(Words4) * place_of_part(place_of_weight_row(row), kIsPlain ? 2 * half : half));
        to_scale = kept(to_block + sizeof(Floats2) * row + to_run * Block::kScaleStride);
        if constexpr (Weight::kHasMin)
            to_min = kept(to_block + Block::kMin + sizeof(float) * row + to_run * Block::kMinStride);
        to_levels = kept(Shared::kInput + sizeof(Words4) * place_of_part(token, 2 * half + me % 2));
        to_input_scale =
            kept(Shared::kBlocks + half * Block::kBytes + Block::kInputScales + sizeof(float) * scale_token);
    }
    const std::byte* weights;
    std::uint32_t levels[kLevels], scales[kScales];  // of a row's first ones: indices into all activations'
    std::uint32_t to_weights, to_scale, to_min, to_levels, to_input_scale;
};

template <class Weight, std::uint32_t kEights>
__device__ inline void start_part(FastTilePart<Weight, kEights>& part, SharedPlace stage, const Input& x,
                                  std::uint32_t n_blocks, const FastTileLoads<Weight, kEights>& loads,
                                  std::uint32_t item) {
    // Of an odd number of blocks the last one stands for the one behind it, which is not multiplied.
    const std::uint32_t last = n_blocks - 1;
    if (loads.kIsPlain) item = item < last ? item : last;
    const std::uint32_t block = block_of_item<Weight>(item);
    part.w = Weight::load(loads.weights, item);
    const auto* levels = reinterpret_cast<const Words4*>(x.q);
#pragma unroll
    for (std::uint32_t i = 0; i < loads.kLevels; ++i)
        start_copy(stage + loads.to_levels + 64 * 32 * i, levels + (loads.levels[i] + 2 * block));
#pragma unroll
    for (std::uint32_t i = 0; i < loads.kScales; ++i) {
        start_copy(stage + loads.to_input_scale + sizeof(float) * 64 * i, x.scales + (loads.scales[i] + block));
        if constexpr (Weight::kHasMin) {
            part.x_scale[i] = x.scales[loads.scales[i] + block];
            part.x_sums[i] = x.sums[loads.scales[i] + block];
        }
    }
}

// A sum of 32 products of bytes lies within 2^22 of zero. Added to the bits of 1.5 · 2^23, it makes those of that
// number plus the sum, which spares a conversion. Scales of weights have at most 22 bits, so that their products with
// 1.5 · 2^23 are exact, and a product with a sum is one instruction.
inline constexpr std::int32_t kSumBias = 0x4b400000;
inline constexpr float kSumBiasValue = 12582912.0f;

template <class Weight, std::uint32_t kEights>
__device__ inline void store_scale(SharedPlace stage, const FastTileLoads<Weight, kEights>& loads, std::uint32_t block,
                                   const Run& run) {
    const std::uint32_t to_block = block * FastBlock<Weight, kEights>::kBytes;
    store_shared(stage + loads.to_scale + to_block, Floats2{run.scale, -kSumBiasValue * run.scale});
    if constexpr (Weight::kHasMin) store_shared(stage + loads.to_min + to_block, run.min);
}

/// Unpacks what start_part() loaded, stores it in the stage, and waits for this thread's copies.
template <class Weight, std::uint32_t kEights>
__device__ inline void finish_part(const FastTilePart<Weight, kEights>& part, SharedPlace stage,
                                   const FastTileLoads<Weight, kEights>& loads, std::uint32_t item) {
    using Block = FastBlock<Weight, kEights>;
    const Item w = Weight::unpack(part.w, loads.weights, item);
    store_shared(stage + loads.to_weights, w.low.level);
    store_shared(stage + (loads.to_weights ^ sizeof(Words4) * (loads.kIsPlain ? 1 : 2)), w.high.level);
    // The runs of an item belong to one block, with one scale, or to both. Where they belong to both and a block has
    // one scale, both items of the stage have the same scales, and the first one stores them.
    if (loads.kIsPlain || !Weight::kOneScale || item % 2 == 0) {
        store_scale(stage, loads, 0, w.low);
        if (!loads.kIsPlain) store_scale(stage, loads, 1, w.high);
    }
    if constexpr (Weight::kHasMin) {
#pragma unroll
        for (std::uint32_t i = 0; i < loads.kScales; ++i) {
            const SharedPlace to =
                stage + loads.to_input_scale + (Block::kSum - Block::kInputScales + sizeof(float) * 64 * i);
            const auto low = static_cast<float>(sum_of_run(part.x_sums[i], 0));
            const auto high = static_cast<float>(sum_of_run(part.x_sums[i], 1));
            store_shared(to, part.x_scale[i] * (Weight::kOneScale ? low + high : low));
            if constexpr (!Weight::kOneScale) store_shared(to + Block::kSumStride, part.x_scale[i] * high);
        }
    }
    wait_for_copies();
}

}  // namespace lfm::gpu
