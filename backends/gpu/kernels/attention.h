// Kernels of attention. Where a sequence has one row: groups share out its keys, and the last of them joins their
// results. More rows: groups take tiles of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/kernels/cache_type.h"
#include "backends/gpu/kernels/quantise.h"
#include "backends/gpu/platform/api.h"
#include "backends/needs/gpu_needs.h"

namespace lfm::gpu {

struct AttentionPush {
    const Step* step;
    const float* q;  // [n, n_head · head_dim]
    const std::byte *keys, *values;
    float* out;              // [n, n_head · head_dim]
    QuantisedRows to;        // of one token: out's quantised form, of heads of a multiple of 32; null: not wanted
    float* parts;            // where a row's keys are shared out: partial results, of one row after another
    std::uint32_t* tickets;  // likewise, for each row, group of heads that share one, and key/value head
    std::uint32_t n_head_kv;
    std::uint32_t heads_share;             // query heads that share one key/value head
    std::uint32_t head_dim;                // a multiple of four
    std::uint32_t key_bytes, value_bytes;  // of one head at one position
    CacheType key_type, value_type;
    float scale;             // log2(e) / sqrt(head_dim): softmax takes powers of two
    std::uint32_t n_splits;  // of one row's keys
    std::uint32_t tile_heads, tile_tokens;
};

/// What a kernel requires of a cache. kF16: heads at multiples of 16 bytes. kQ8_0: heads at multiples of 4 bytes, of an
/// even number of blocks. kAny: whatever operations/attention.cpp accepts.
enum class CacheReads { kF16, kQ8_0, kAny };

inline constexpr std::uint32_t kHeadsOfSplit = 4;
inline constexpr std::uint32_t kKeysOfSplit = needs::gpu::kKeysOfSplit;
inline constexpr std::uint32_t kMostSplits = needs::gpu::kMostSplits;
/// Splits along x, key/value heads along y, heads that share one along z (kHeadsOfSplit a group). Partial results of a
/// row, with more than one split: sums f32 [n_head, n_splits, head_dim], then PartWeight [n_head, n_splits]. One row:
/// the step's only one. Many: those of its single rows, all splits of one after another along x; `to` is null.
Kernel attention_split_kernel(CacheReads reads, std::uint32_t head_dim, bool many);

struct PartWeight {
    float total;    // of the weights, relative to the largest score
    float largest;  // score
};
static_assert(sizeof(PartWeight) == needs::gpu::kPartWeightBytes);

/// Rows of a tile (a token's head each), for heads up to 64, 128, 256.
constexpr std::uint32_t rows_of_tile(std::uint32_t head_dim) { return head_dim <= 64 ? 64 : head_dim <= 128 ? 32 : 16; }
/// Tiles of tokens along x, key/value heads along y, heads that share one along z (tile_heads a group);
/// tile_heads · tile_tokens is at most rows_of_tile.
Kernel attention_tile_kernel(std::uint32_t head_dim);

/// The same with the instructions of platform/half_tiles.h: queries, keys, values and weights are halves. Not for kAny;
/// heads of 64 or 128, tiles of kHalfTileRows.
inline constexpr std::uint32_t kHalfTileRows = 64;
Kernel attention_half_tile_kernel(CacheReads reads, std::uint32_t head_dim);

}  // namespace lfm::gpu
