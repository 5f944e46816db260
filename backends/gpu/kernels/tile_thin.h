// F32, F16 or BF16 weights of few rows times many rows of x, nothing rounded: a router's. A group takes 16 weight rows
// and 8 rows of x, its eight sets of lanes some of the columns each, so that few weight rows keep a card busy too.
#pragma once

#include "backends/gpu/kernels/tile.h"
#include "backends/gpu/kernels/wide.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kThinTileThreads = 256;
inline constexpr std::uint32_t kThinTileSets = kThinTileThreads / kLanes;
inline constexpr std::uint32_t kThinTileRows = 16;
inline constexpr std::uint32_t kThinTileTokens = 8;

struct ThinTileShared {
    // Four columns more than the 32 of an item keep what lanes read or write together in different banks.
    struct Part {
        float w[kThinTileRows][36];
        float x[kThinTileTokens][36];
    };
    Part parts[kThinTileSets];
    float sums[kThinTileSets][kThinTileTokens][kThinTileRows];
};

/// What a lane brings of an item: 16 columns of a weight row, 8 of a row of x.
struct ThinTilePart {
    float w[16], x[8];
};

template <class Weight>
__device__ inline ThinTilePart load_thin_part(const std::byte* weight_row, const float* x, bool wide,
                                              std::uint32_t n_in, std::uint32_t item) {
    const std::uint32_t of_w = 32 * item + lane() % 2 * 16, of_x = 32 * item + lane() % 4 * 8;
    ThinTilePart part{};
    if (wide) {
#pragma unroll
        for (std::uint32_t i = 0; i < 16; i += 8) {
            float eight[8] = {};
            if (of_w + i < n_in) Weight::load_eight(weight_row + std::size_t{of_w + i} * Weight::kBytes, eight);
#pragma unroll
            for (std::uint32_t j = 0; j < 8; ++j) part.w[i + j] = eight[j];
        }
        if (of_x < n_in) {
            const auto* from = reinterpret_cast<const std::byte*>(x + of_x);
            const Words4 low = load<Words4>(from), high = load<Words4>(from + 16);
#pragma unroll
            for (std::uint32_t j = 0; j < 8; ++j) part.x[j] = float_of_bits(j < 4 ? low.at[j % 4] : high.at[j % 4]);
        }
        return part;
    }
    const std::byte* from = weight_row + std::size_t{of_w} * Weight::kBytes;
#pragma unroll
    for (std::uint32_t i = 0; i < 16; ++i)
        if (of_w + i < n_in) part.w[i] = Weight::load_one(from + i * Weight::kBytes);
#pragma unroll
    for (std::uint32_t i = 0; i < 8; ++i)
        if (of_x + i < n_in) part.x[i] = x[of_x + i];
    return part;
}

__device__ inline Floats4 four_of(const float* from) { return {from[0], from[1], from[2], from[3]}; }

__device__ inline void store_thin_part(ThinTileShared::Part& to, const ThinTilePart& part) {
#pragma unroll
    for (std::uint32_t i = 0; i < 16; i += 4)
        *reinterpret_cast<Floats4*>(&to.w[lane() / 2][lane() % 2 * 16 + i]) = four_of(part.w + i);
#pragma unroll
    for (std::uint32_t i = 0; i < 8; i += 4)
        *reinterpret_cast<Floats4*>(&to.x[lane() / 4][lane() % 4 * 8 + i]) = four_of(part.x + i);
}

/// Adds an item's products: two weight rows and two rows of x of each lane.
__device__ inline void multiply_thin_part(const ThinTileShared::Part& part, float (&sums)[2][2]) {
    const std::uint32_t row = lane() / 4 * 2, token = lane() % 4 * 2;
#pragma unroll
    for (std::uint32_t i = 0; i < 32; i += 4) {
        Floats4 w[2], x[2];
#pragma unroll
        for (std::uint32_t j = 0; j < 2; ++j) {
            w[j] = *reinterpret_cast<const Floats4*>(&part.w[row + j][i]);
            x[j] = *reinterpret_cast<const Floats4*>(&part.x[token + j][i]);
        }
#pragma unroll
        for (std::uint32_t r = 0; r < 2; ++r)
#pragma unroll
            for (std::uint32_t t = 0; t < 2; ++t) {
                sums[r][t] += w[r].x * x[t].x;
                sums[r][t] += w[r].y * x[t].y;
                sums[r][t] += w[r].z * x[t].z;
                sums[r][t] += w[r].w * x[t].w;
            }
    }
}

/// On activations as they are. Which columns a set adds up, and in which order sets are added, depends on n_in alone.
template <class Weight>
__global__ void __launch_bounds__(kThinTileThreads, groups_with(128)) tile_thin(TilePush push) {
    begin_kernel();
    ThinTileShared& shared = shared_memory<ThinTileShared>();
    const TileWork work = tile_work(push);
    const std::uint32_t first_row = group_index().x * kThinTileRows, n_items = (push.n_in + 31) / 32;
    const std::uint32_t own_row = first_row + lane() / 2, row = own_row < push.n_out ? own_row : push.n_out - 1;
    const std::byte* weight_row = work.weight + std::size_t{row} * push.row_bytes;
    const bool wide = rows_are_wide<Weight>(work.weight, push.row_bytes, push.n_in) &&
                      (reinterpret_cast<std::uintptr_t>(push.input.x) & 15) == 0;
    ThinTileShared::Part& part = shared.parts[lane_set()];
    for (std::uint32_t first = work.begin + group_index().z * kThinTileTokens; first < work.end;
         first += n_groups().z * kThinTileTokens) {
        const float* x = push.input.x + std::size_t{tile_input_row(push, work, first + lane() / 4)} * push.n_in;
        float sums[2][2] = {};
        ThinTilePart next = load_thin_part<Weight>(weight_row, x, wide, push.n_in, lane_set());
        // All sets take the same number of turns; columns beyond the row's end are zero.
        for (std::uint32_t turn = 0; turn < n_items; turn += kThinTileSets) {
            store_thin_part(part, next);
            sync_lanes();
            next = load_thin_part<Weight>(weight_row, x, wide, push.n_in, turn + kThinTileSets + lane_set());
            multiply_thin_part(part, sums);
            sync_lanes();
        }
#pragma unroll
        for (std::uint32_t r = 0; r < 2; ++r)
#pragma unroll
            for (std::uint32_t t = 0; t < 2; ++t)
                shared.sums[lane_set()][lane() % 4 * 2 + t][lane() / 4 * 2 + r] = sums[r][t];
        sync_group();
        const std::uint32_t me = thread_index(), to = first + me / kThinTileRows, out = first_row + me % kThinTileRows;
        if (me < kThinTileTokens * kThinTileRows && to < work.end && out < push.n_out) {
            float sum = 0;
            for (std::uint32_t s = 0; s < kThinTileSets; ++s)
                sum += shared.sums[s][me / kThinTileRows][me % kThinTileRows];
            push.out[std::size_t{to} * push.n_out + out] = sum;
        }
        sync_group();  // before the next rows' sums
    }
}

}  // namespace lfm::gpu
