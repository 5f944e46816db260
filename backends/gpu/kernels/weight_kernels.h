// All kernels of one weight type, from the struct that says how its blocks are read.
#pragma once

#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/kernels/tile.h"
#include "backends/gpu/kernels/tile_fast.h"
#include "backends/gpu/kernels/tile_half.h"
#include "backends/gpu/kernels/tile_thin.h"
#include "backends/gpu/kernels/vector.h"
#include "backends/gpu/kernels/vector_conv.h"
#include "backends/gpu/kernels/vector_route.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {

template <class Weight>
__global__ void __launch_bounds__(kEmbedThreads) embed(EmbedPush push) {
    begin_kernel();
    const std::uint32_t item = group_index().x * kEmbedThreads + thread_index(), t = group_index().y;
    if (kItem * item >= push.n_cols || t >= push.step->n_tokens) return;
    const std::uint32_t id = static_cast<std::uint32_t>(push.step->token_ids[t]);
    const std::byte* row = push.table + std::size_t{id < push.n_rows ? id : push.n_rows - 1} * push.row_bytes;
    float w[32];
    load_values<Weight>(row, item, push.n_cols, rows_are_wide<Weight>(push.table, push.row_bytes, push.n_cols), w);
#pragma unroll
    for (std::uint32_t i = 0; i < 32; ++i) {
        const std::uint32_t column = column_of<Weight>(item, i);
        if (column < push.n_cols) push.out[std::size_t{t} * push.n_cols + column] = id < push.n_rows ? w[i] : 0;
    }
}

/// F16 or BF16.
template <class Weight>
constexpr bool is_half() {
    if constexpr (Weight::kIsFloat) return Weight::kBytes == 2;
    return false;
}

template <class Weight, std::uint32_t kEights>
TileKernel fast_tile(const char* name) {
    return {make_kernel<FastTileShared<Weight, kEights>>(name, tile_fast<Weight, kEights>, kTileThreads), kFastTileRows,
            FastShare<kEights>::kTokens};
}

template <class Weight>
MatmulKernels kernels_of() {
    MatmulKernels kernels{
        .vector = make_kernel<VectorShared<Weight>>("matmul_vector", vector<Weight>, kVectorThreads),
        .gate_up = make_kernel<VectorShared<Weight>>("expert_gate_up", gate_up<Weight>, kVectorThreads),
        .down = make_kernel<DownShared<Weight>>("expert_down", down<Weight>, kVectorThreads),
        .tile_float = make_kernel<FloatTileShared>("matmul_tile_float", tile_float<Weight>, kTileThreads),
        .embed = make_kernel("embed", embed<Weight>, kEmbedThreads)};
    if constexpr (!Weight::kIsFloat)
        kernels.vector_conv = make_kernel<VectorShared<Weight>>("matmul_conv", vector_conv<Weight>, kVectorThreads);
    if constexpr (Weight::kIsFloat)
        kernels.route = make_kernel<RouteShared<Weight>>("route_vector", route_vector<Weight>, kVectorThreads);
    if constexpr (Weight::kIsFloat)
        kernels.tile = kernels.tile_float;
    else
        kernels.tile = make_kernel<TileShared>("matmul_tile", tile<Weight>, kTileThreads);
    kernels.tile_fast = kernels.tile_wide = {kernels.tile, kTileRows, kTileTokens};
    if constexpr (kHasTiles && !Weight::kIsFloat) {
        kernels.tile_fast = fast_tile<Weight, 4>("matmul_tile_fast");
        kernels.tile_wide = fast_tile<Weight, 8>("matmul_tile_wide");
    } else if constexpr (kHasTiles && is_half<Weight>()) {
        kernels.tile_fast = kernels.tile_wide = {
            make_kernel<HalfTileShared<Weight>>("matmul_tile_half", tile_half<Weight>, kTileThreads), kFastTileRows,
            kHalfTileTokens};
    }
    if constexpr (Weight::kIsFloat)
        kernels.tile_thin = {make_kernel<ThinTileShared>("matmul_tile_thin", tile_thin<Weight>, kThinTileThreads),
                             kThinTileRows, kThinTileTokens};
    return kernels;
}

}  // namespace lfm::gpu
