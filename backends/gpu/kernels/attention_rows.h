// Which tokens and heads a group of the kernels for many tokens takes: a row for each head of each token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/kernels/attention.h"
#include "backends/gpu/kernels/sequences.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

struct AttentionRows {
    std::uint32_t first_token, n_tokens;  // of the step
    std::uint32_t position;               // of the first token, in its sequence
    const std::uint32_t* pages;           // of the sequence (sequences.h)
    std::uint32_t first_head, n_heads;
    std::uint32_t n_head;  // of all

    __device__ std::uint32_t n() const { return n_tokens * n_heads; }
    /// How many keys a row sees, and all of them.
    __device__ std::uint32_t n_seen(std::uint32_t row) const { return position + row / n_heads + 1; }
    __device__ std::uint32_t n_keys() const { return position + n_tokens; }
    /// Its index among the heads of q and of the result, [n, n_head].
    __device__ std::size_t head(std::uint32_t row) const {
        return std::size_t{first_token + row / n_heads} * n_head + first_head + row % n_heads;
    }
};

/// None for a group beyond the last sequence's end. Of a sequence the last tiles see the most keys, so they come first.
__device__ inline AttentionRows rows_of_group(const AttentionPush& push) {
    const Step& step = *push.step;
    AttentionRows rows{};
    std::uint32_t i = step.n_singles, tile = group_index().x, n_tiles = 0;
    for (; i < step.n_sequences; ++i, tile -= n_tiles) {
        n_tiles = (sequence_at(step, i).n_rows + push.tile_tokens - 1) / push.tile_tokens;
        if (tile < n_tiles) break;
    }
    if (i >= step.n_sequences) return rows;
    const SequenceRows sequence = sequence_at(step, i);
    const std::uint32_t first = (n_tiles - 1 - tile) * push.tile_tokens, rest = sequence.n_rows - first;
    const std::uint32_t shared_by = group_index().z * push.tile_heads;
    rows.first_token = sequence.first_row + first;
    rows.n_tokens = rest < push.tile_tokens ? rest : push.tile_tokens;
    rows.position = sequence.position + first;
    rows.pages = sequence.pages;
    rows.first_head = group_index().y * push.heads_share + shared_by;
    rows.n_heads = push.heads_share - shared_by < push.tile_heads ? push.heads_share - shared_by : push.tile_heads;
    rows.n_head = push.n_head_kv * push.heads_share;
    return rows;
}

}  // namespace lfm::gpu
