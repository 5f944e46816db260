// Quantised weights times many rows of x by products of small matrices (platform/tiles.h). Each of a group's four sets
// of lanes takes 32 weight rows and 32 or 64 rows of x of its tile. While one part of the columns is multiplied, the
// next is on its way: activations by copies that bypass the registers, weights through registers, as they are unpacked.
#pragma once

#include "backends/gpu/kernels/tile_stage.h"
#include "backends/gpu/platform/tiles.h"

namespace lfm::gpu {

/// Whether scales may be so large that their product with 1.5 · 2^23 overflows.
template <class Weight>
inline constexpr bool kHasAnyScale = requires {
    Weight::kAnyScale;
};

/// scale.x times an integer sum that began at kSumBias, from its bits; scale.y is -kSumBiasValue · scale.x.
template <class Weight>
__device__ inline float scaled_sum(std::int32_t bits, const Floats2& scale) {
    const float sum = float_of_bits(static_cast<std::uint32_t>(bits));
    if constexpr (kHasAnyScale<Weight>) return (sum - kSumBiasValue) * scale.x;
    return multiply_add(sum, scale.x, scale.y);
}

/// Where a set of lanes finds what it multiplies, in any stage.
struct SetPlaces {
    template <std::uint32_t kEights>
    __device__ explicit SetPlaces(const FastShare<kEights>& share)
        : w(WeightMatrices{share.row}),
          x(InputMatrices{share.token}),
          row(kept(sizeof(float) * (share.row + 4 * share.g))),
          token(kept(sizeof(float) * (share.token + 2 * share.t))) {}

    MatrixPlaces<WeightMatrices> w;
    MatrixPlaces<InputMatrices> x;
    std::uint32_t row, token;  // this lane's first ones, as offsets in bytes among floats
};

/// Scales and minima of this lane's four rows.
template <class Weight, std::uint32_t kEights>
struct LaneScales {
    using Block = FastBlock<Weight, kEights>;

    __device__ LaneScales(SharedPlace scales, [[maybe_unused]] SharedPlace mins) {
#pragma unroll
        for (std::uint32_t s = 0; s < Block::kRuns; ++s) {
#pragma unroll
            for (std::uint32_t i = 0; i < 4; i += 2) {
                const auto both = load_shared<Floats4>(scales + (s * Block::kScaleStride + sizeof(Floats2) * i));
                scale[s][i] = {both.x, both.y};
                scale[s][i + 1] = {both.z, both.w};
            }
            if constexpr (Weight::kHasMin) {
                const auto four = load_shared<Floats4>(mins + (Block::kMin + s * Block::kMinStride));
                min[s][0] = four.x, min[s][1] = four.y, min[s][2] = four.z, min[s][3] = four.w;
            }
        }
    }

    Floats2 scale[Block::kRuns][4];
    float min[Block::kRuns][4];
};

/// Scales the integer sums `bits` of run s, or of the whole block where it has one scale, and adds them to the sums of
/// the j-th eight rows of x.
template <class Weight, std::uint32_t kEights>
__device__ inline void add_products(SharedPlace x, std::uint32_t s, const LaneScales<Weight, kEights>& w,
                                    const std::int32_t (&bits)[2][2][4], std::uint32_t j, FastSums<kEights>& sums) {
    using Block = FastBlock<Weight, kEights>;
    const auto x_scales = load_shared<Floats2>(x + (Block::kInputScales + 32 * j));
    const float x_scale[2] = {x_scales.x, x_scales.y};
    float x_sum[2];
    if constexpr (Weight::kHasMin) {
        const auto both = load_shared<Floats2>(x + (Block::kSum + s * Block::kSumStride + 32 * j));
        x_sum[0] = both.x, x_sum[1] = both.y;
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 2; ++i)
#pragma unroll
        for (std::uint32_t k = 0; k < 4; ++k) {
            float& sum = sums[i][j][k];
            sum += x_scale[k % 2] * scaled_sum<Weight>(bits[i][j % 2][k], w.scale[s][2 * i + k / 2]);
            if constexpr (Weight::kHasMin) sum -= w.min[s][2 * i + k / 2] * x_sum[k % 2];
        }
}

/// Adds the products of a stage's blocks with some sixteens of rows of x.
template <class Weight, std::uint32_t kEights, std::uint32_t kSixteens, std::uint32_t kBlocks>
__device__ inline void multiply_blocks(SharedPlace stage, const SetPlaces& places, FastSums<kEights>& sums) {
    using Shared = FastTileShared<Weight, kEights>;
    constexpr std::uint32_t kRuns = Shared::Block::kRuns;
    MatrixRows<WeightMatrices> of_w(stage, places.w);
    MatrixRows<InputMatrices> of_x(stage, places.x);
    const SharedPlace of_rows = stage + places.row, of_tokens = stage + places.token;
    // As much at once as there are registers for.
    [[maybe_unused]] constexpr std::uint32_t kAtOnce = kRuns == 2 && kEights == 8 ? 1 : 2;
#pragma unroll kAtOnce
    for (std::uint32_t half = 0; half < kBlocks; ++half) {
        const std::uint32_t block = Shared::kBlocks + half * Shared::Block::kBytes;
        // The next sixteen rows lie 1 KiB on, their blocks the other way round.
        std::uint32_t a[2][4];
        load_matrices(a[0], of_w, 0);
        of_w.change(kOtherBlock);
        load_matrices(a[1], of_w, 1024);
        const LaneScales<Weight, kEights> w(of_rows + places.row + block, of_rows + block);
#pragma unroll
        for (std::uint32_t two = 0; two < kSixteens; ++two) {
            if (half + two > 0) load_no_earlier();
            std::uint32_t words[4], b[2][2];
            load_matrices(words, of_x, Shared::kInput + 1024 * two);
            if (two + 1 < kSixteens || kSixteens % 2 == 1) of_x.change(kOtherBlock);
#pragma unroll
            for (std::uint32_t i = 0; i < 4; ++i) b[i / 2][i % 2] = words[i];
#pragma unroll
            for (std::uint32_t s = 0; s < kRuns; ++s) {
                std::int32_t bits[2][2][4];
                if constexpr (kRuns == 1) {
                    multiply_all_bytes(bits, a, b, kSumBias);
                } else {
                    const std::uint32_t a_run[2][2] = {{a[0][2 * s], a[0][2 * s + 1]}, {a[1][2 * s], a[1][2 * s + 1]}};
                    const std::uint32_t b_run[2][1] = {{b[0][s]}, {b[1][s]}};
                    multiply_all_bytes(bits, a_run, b_run, kSumBias);
                }
                add_products(of_tokens + block, s, w, bits, 2 * two, sums);
                add_products(of_tokens + block, s, w, bits, 2 * two + 1, sums);
            }
        }
    }
}

/// On quantised activations.
template <class Weight, std::uint32_t kEights>
__global__ void __launch_bounds__(kTileThreads, kEights == 4 && Weight::kOneScale && !Weight::kHasMin ? 3 : 2)
    tile_fast(TilePush push) {
    begin_kernel();
    static_assert(kTileThreads == 2 * kFastTileRows && kTileThreads == 4 * kLanes);
    using Shared = FastTileShared<Weight, kEights>;
    using Share = FastShare<kEights>;
    const SharedPlace stages = place_in_shared(&shared_memory<Shared>());
    const TileWork work = tile_work(push);
    const std::uint32_t n_blocks = push.n_in / 32, half = fast_half(thread_index());
    const SetPlaces places{Share()};
    for (std::uint32_t first = work.begin + group_index().z * Share::kTokens; first < work.end;
         first += n_groups().z * Share::kTokens) {
        const FastTileLoads<Weight, kEights> loads(push, work, first);
        const std::uint32_t n_tokens = Share().n_tokens(work.end - first);
        FastSums<kEights> sums = {};
        FastTilePart<Weight, kEights> part;
        std::uint32_t item = half;  // this thread's
        start_part(part, stages, push.input, n_blocks, loads, item);
        finish_part(part, stages, loads, item);
        sync_group();
        std::uint32_t present = 0;
        for (; item < n_blocks / 2 * 2; item += 2) {
            const SharedPlace next = stages + (Shared::kStage - present);
            const bool is_last = item - half + 2 >= n_blocks;
            if (!is_last) start_part(part, next, push.input, n_blocks, loads, item + 2);
            if (n_tokens > 4 * kEights)
                multiply_blocks<Weight, kEights, kEights / 2, 2>(stages + present, places, sums);
            else if (n_tokens > 0)
                multiply_blocks<Weight, kEights, kEights / 4, 2>(stages + present, places, sums);
            if (!is_last) finish_part(part, next, loads, item + 2);
            sync_group();
            present = Shared::kStage - present;
        }
        if (n_blocks % 2 != 0) {
            multiply_blocks<Weight, kEights, kEights / 2, 1>(stages + present, places, sums);
            sync_group();
        }
        store_fast_sums<kEights>(push, work, first, sums);
    }
}

}  // namespace lfm::gpu
