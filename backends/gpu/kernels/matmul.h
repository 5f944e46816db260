// The kernels that multiply with weights, as host code sees them. Each weight type has its own set, compiled in a file
// of its own (weights/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"
#include "memory/dtype.h"

namespace lfm::gpu {

/// A kernel for many rows of x, and how many weight rows and rows of x a group takes at a time.
struct TileKernel {
    Kernel kernel;
    std::uint32_t rows = 0, tokens = 0;
};

/// Of one weight type.
struct MatmulKernels {
    Kernel vector;         // VectorPush: a few rows of x
    Kernel gate_up;        // GateUpPush: one token's experts
    Kernel down;           // DownPush: one token's experts
    Kernel tile;           // TilePush: many rows, on quantised activations where weights are quantised
    Kernel tile_float;     // TilePush: on activations as they are
    TileKernel tile_fast;  // TilePush: as `tile`, by platform/tiles.h. Of F32 weights, and with HIP, the same kernel
    TileKernel tile_wide;  // the same with more rows of x a group: fewer instructions, fewer groups
    TileKernel tile_thin;  // TilePush: F32, F16 and BF16 weights of at most kMostThinRows rows; nothing rounded
    Kernel vector_conv;    // VectorConvPush; not of F32, F16 and BF16
    Kernel embed;          // EmbedPush
    Kernel route;          // RouteVectorPush of route.h; of F32, F16 and BF16 alone
};
/// Nothing when there are none for this type.
std::optional<MatmulKernels> matmul_kernels(DType type);

/// Rows of n activations: x [rows, n] f32; for quantised weights also q [rows, n] int8, scales [rows, n / 32] f32, and
/// sums [rows, n / 32], the sums of 16 neighbouring q, two i16 a word (backends/cpu/kernels/kernels.h has the
/// definition). Kernels of few rows take a null q as well: their groups quantise x themselves.
struct Input {
    const float* x;
    const std::byte* q;
    const float* scales;
    const std::uint32_t* sums;
};

/// As `Input`, to write.
struct QuantisedRows {
    std::byte* q;
    float* scales;
    std::uint32_t* sums;
};

/// A group of kVectorThreads threads is kVectorThreads / 32 sets of lanes. sets_per_row of them, a power of two, share
/// some rows of weights; the groups of the grid's x axis take turns until all rows are done.
inline constexpr std::uint32_t kVectorThreads = 256;
inline constexpr std::uint32_t kVectorSets = kVectorThreads / 32;
/// The widest input that a group can hold quantised.
inline constexpr std::uint32_t kMostVectorInputs = 12288;
/// Rows of weights that a team of sets multiplies at a time.
inline constexpr std::uint32_t kVectorRows = 2;
/// Columns that a lane multiplies at a time: of quantised weights, and of F32, F16 and BF16.
inline constexpr std::uint32_t kItem = 32;
inline constexpr std::uint32_t kFloatItem = 8;

/// out[row, r] = x[row] · w[r], for up to three weights of one type; x's row is the grid's y.
struct VectorPush {
    struct Output {
        const std::byte* weight;
        float* out;
        std::uint32_t row_bytes, n_out;
    };
    const Step* step;
    Input input;
    Output outputs[3];  // those left over have no rows
    std::uint32_t n_in, row_set;
    std::uint32_t most_rows;  // of x, else nothing is done; 0: as many as the grid has
    std::uint32_t sets_per_row;
};

/// The same for one weight and one row of x, which is there quantised; and the short convolution of what comes out.
/// n_embd is a multiple of 32. `out` and `to` do not overlap the quantised input: other groups may still be reading it.
struct VectorConvPush {
    const Step* step;
    Input input;
    const std::byte* weight;  // [3 · n_embd, n_in]
    float* bcx;               // [3 · n_embd]
    const float* taps;        // [n_embd, l_cache]
    float* ring;              // [n_slots, n_embd]
    float* out;               // [n_embd]
    QuantisedRows to;         // null: not wanted
    std::uint32_t* tickets;   // n_embd / 32
    std::uint32_t row_bytes, n_in, n_embd, l_cache, n_slots, sets_per_row;
};

/// Where a layer's experts are for one operation: by the table, or in the slots they were staged in.
struct ExpertSource {
    const ExpertEntry* table;     // the layer's
    const std::int32_t* slot_of;  // null: none is staged
    const std::byte* slots;
    std::uint64_t slot_bytes, up_offset, down_offset;
    std::uint32_t n_expert, set;  // ExpertSet of backend.h
};

/// hidden[j] = silu(gate · x) ⊙ up · x for each choice j of the set, the grid's y. Both matrices are of one type.
struct GateUpPush {
    ExpertSource source;         // without a table: the two matrices below are the only choice
    const std::byte *gate, *up;  // of a dense layer
    Input input;
    const std::int32_t* ids;
    float* hidden;           // [n_used, n_ff]
    float* up_out;           // null, or where up · x goes
    QuantisedRows to;        // null: hidden is not wanted quantised; else n_ff is a multiple of 32
    std::uint32_t* tickets;  // for `to`: n_used · n_ff / 32
    std::uint32_t row_bytes, n_in, n_ff, sets_per_row;
};

/// out = Σ weight[j] · down(hidden[j]) over the choices j of the set; n_used · n_ff is at most kMostVectorInputs.
struct DownPush {
    ExpertSource source;
    Input hidden;  // [n_used, n_ff]
    const std::int32_t* ids;
    const float* weights;
    float* out;
    std::uint32_t row_bytes, n_ff, n_out, n_used, sets_per_row;
};
inline constexpr std::uint32_t kMostVectorChoices = 32;
static_assert(kMostVectorInputs / 32 <= kMostTickets);

/// Products of tiles of weight rows and rows of x, on the grid {tiles of weight rows, experts, tiles of x}; groups take
/// turns along z. For experts the rows are those of `begin`, sorted by expert.
struct TilePush {
    const Step* step;
    Input input;
    const std::byte* weight;        // null: each expert's
    const ExpertEntry* experts;     // [n_expert]
    const std::uint32_t* begin;     // [n_expert + 1]: the first row of each
    const std::uint32_t* token_of;  // the row of x of each row; null: the same
    float* out;                     // [rows, n_out]
    std::uint32_t row_bytes, n_in, n_out;
    std::uint32_t matrix;       // of an expert: 0 gate, 1 up, 2 down
    std::uint32_t row_set;      // without experts
    std::uint32_t fewest_rows;  // without experts: else nothing is done
};
// What a group of `tile` and `tile_float` takes at a time.
inline constexpr std::uint32_t kTileRows = 64;
inline constexpr std::uint32_t kTileTokens = 32;
// Matrices of no more rows are too small for tiles of those sizes to keep a card busy.
inline constexpr std::uint32_t kMostThinRows = 128;

/// out[t] = table[token_ids[t]], a thread for each item, on the grid {groups of items, tokens}. An id outside the table
/// gives zeros.
struct EmbedPush {
    const Step* step;
    const std::byte* table;
    float* out;
    std::uint32_t row_bytes, n_cols, n_rows;
};
inline constexpr std::uint32_t kEmbedThreads = 64;

}  // namespace lfm::gpu
