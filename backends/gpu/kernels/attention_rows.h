// Which tokens and heads a group of the kernels for many tokens takes: a row for each head of each token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/kernels/attention.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

struct AttentionRows {
    std::uint32_t first_token, n_tokens;  // of the step
    std::uint32_t first_head, n_heads;
    std::uint32_t n_head;  // of all

    __device__ std::uint32_t n() const { return n_tokens * n_heads; }
    __device__ std::uint32_t token(std::uint32_t row) const { return first_token + row / n_heads; }
    /// Its index among the heads of q and of the result, [n, n_head].
    __device__ std::size_t head(std::uint32_t row) const {
        return std::size_t{token(row)} * n_head + first_head + row % n_heads;
    }
};

/// None for a group beyond the step's end. The last tiles see the most keys, so they come first.
__device__ inline AttentionRows rows_of_group(const AttentionPush& push) {
    const std::uint32_t n_tokens = push.step->n_tokens;
    const std::uint32_t n_tiles = (n_tokens + push.tile_tokens - 1) / push.tile_tokens;
    AttentionRows rows{};
    if (group_index().x >= n_tiles) return rows;
    const std::uint32_t shared_by = group_index().z * push.tile_heads;
    rows.first_token = (n_tiles - 1 - group_index().x) * push.tile_tokens;
    rows.n_tokens = n_tokens - rows.first_token < push.tile_tokens ? n_tokens - rows.first_token : push.tile_tokens;
    rows.first_head = group_index().y * push.heads_share + shared_by;
    rows.n_heads = push.heads_share - shared_by < push.tile_heads ? push.heads_share - shared_by : push.tile_heads;
    rows.n_head = push.n_head_kv * push.heads_share;
    return rows;
}

}  // namespace lfm::gpu
