// Matmul with quantised weights, rows side by side in the lanes of a vector. The sum of a block of 32 products is an
// exact integer; only the step from block to block is in f32, one chain per output:
//     acc = fma(activation scale, weight scale · sum, acc)
// So one token or many, every cut of the work and every instruction set that uses this give the same bits.
//
// Few tokens: weights go from memory through registers. More: kLanes rows × 256 columns are unpacked once into a
// panel and serve a tile of tokens, whose activations stay in the first-level cache meanwhile.
//
// Type offers, for one block type and instruction set:
//     static constexpr std::uint32_t kLanes, kGroups;      // rows of a vector; vectors that share an activation
//     static constexpr std::size_t kColumns, kBlockBytes;  // of a weight block
//     struct Panel;                                        // kLanes rows × 256 columns
//     static void dot(const RowGroup<kLanes>&, const ActivationBlock* x, std::uint32_t n_in, float* y);  // optional
//     static void unpack(const RowGroup<kLanes>&, std::size_t at, std::uint32_t n_blocks, Panel&);
//     static void multiply(const Panel (&)[kGroups], std::uint32_t block, const TokenTile&, TileSums<kLanes>* sums);
// or, where a factor is common to a row's whole panel and is applied last (BlockPlace):
//     template <BlockPlace> static void multiply(…, TileSums<kLanes>* panel_sums, TileSums<kLanes>* sums);
#pragma once

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {
namespace {  // a copy per instruction set: a linker would keep one for all

/// Neighbouring rows; past the last row that one is repeated, and its results are not stored.
template <std::uint32_t kLanes>
struct RowGroup {
    const std::byte* row[kLanes];
    std::uint32_t n;
    std::size_t stride;

    RowGroup(const MatmulTile& tile, std::uint32_t first) : stride(tile.row_bytes) {
        const std::uint32_t left = tile.n_rows - first;
        n = left < kLanes ? left : kLanes;
        for (std::uint32_t r = 0; r < kLanes; ++r) row[r] = tile.weights + (first + (r < n ? r : n - 1)) * stride;
    }

    /// Prefetches as much of the next group, which lies right behind this one, as a step reads of this one: hardware
    /// does not follow so many streams. `at` bytes of each row are done, the step reads `bytes` more of each. Only part
    /// `part` of `n_parts` is fetched, as lines in a burst wait for one another.
    void prefetch_next_group(std::size_t at, std::size_t bytes, std::uint32_t part = 0,
                             std::uint32_t n_parts = 1) const {
        const std::byte* next = row[0] + kLanes * (stride + at);
        const std::size_t n_lines = (kLanes * bytes + 63) / 64;
        for (std::size_t i = n_lines * part / n_parts; i < n_lines * (part + 1) / n_parts; ++i)
            __builtin_prefetch(next + 64 * i);
        __asm__ volatile("");  // A compiler would join the parts into a burst.
    }

    /// Touches all pages of the next group at once, so that the page walks overlap.
    void touch_next_pages() const {
        constexpr std::size_t kPage = 4096;
        const std::byte* next = row[0] + kLanes * stride;
        for (std::size_t i = 0; i < kLanes * stride + kPage; i += kPage) __builtin_prefetch(next + i);
    }
};

inline const ActivationBlock* activations_of(const MatmulTile& tile, std::uint32_t token) {
    return tile.xq + (tile.x_rows ? tile.x_rows[token] : token) * activation_stride(tile.n_in);
}

constexpr std::uint32_t kTileTokens = 128, kTileRows = 64;
constexpr std::uint32_t kPanelColumns = 256;
constexpr std::uint32_t kPanelBlocks = kPanelColumns / ActivationBlock::kSize;

/// Tokens that are multiplied with a panel.
struct TokenTile {
    const ActivationBlock* first;  // the panel's first block of the first token
    std::size_t stride;            // to the next token
    std::uint32_t n;

    /// step(activations, t) for each token t, with its block `block` of the panel. Prefetches its block of the next
    /// panel.
    template <class Step>
    [[gnu::always_inline]] void each(std::uint32_t block, const Step& step) const {
        const ActivationBlock* at = first + block;
        for (std::uint32_t t = 0; t < n; ++t, at += stride) {
            __builtin_prefetch(at + kPanelBlocks);
            step(*at, t);
        }
    }
};

/// Sums of one group of rows: [token][row].
template <std::uint32_t kLanes>
using TileSums = float[kTileTokens][kLanes];

/// A block's place in its panel: the first one starts the panel's sums, the last one adds d times these to the tile's.
enum class BlockPlace { kFirst, kInside, kLast };

/// Stores one token's results of the rows from `row` on.
template <std::uint32_t kLanes>
void store_lanes(const MatmulTile& tile, std::uint32_t row, std::uint32_t token, const float* lanes) {
    const std::uint32_t left = tile.n_rows - row;
    float* y = tile.y + token * tile.y_stride + row;
    if (left >= kLanes) {
        __builtin_memcpy(y, lanes, kLanes * sizeof(float));
    } else {
        for (std::uint32_t r = 0; r < left; ++r) y[r] = lanes[r];
    }
}

/// The tokens from `first` on, weights straight from memory. Of Type it needs kLanes and dot.
template <class Type>
void multiply_few(const MatmulTile& tile, std::uint32_t first) {
    for (std::uint32_t row = 0; row < tile.n_rows; row += Type::kLanes) {
        const RowGroup<Type::kLanes> rows(tile, row);
        rows.touch_next_pages();
        for (std::uint32_t t = first; t < tile.n_tokens; ++t) {
            alignas(64) float y[Type::kLanes];
            Type::dot(rows, activations_of(tile, t), tile.n_in, y);
            store_lanes<Type::kLanes>(tile, row, t, y);
        }
    }
}

template <class Type>
struct LaneMatmul {
    // A tile's sums take 32 KiB, a panel's activations 40, its weights 2 to 10: more than a first-level cache, but the
    // second delivers in time, and unpacking costs half of what it does with tiles of 64 tokens.
    static constexpr std::uint32_t kLanes = Type::kLanes, kGroups = Type::kGroups;
    static constexpr bool kHasDot = requires { &Type::dot; };

    static void run(const MatmulTile& tile) {
        for (std::uint32_t token = 0; token < tile.n_tokens; token += kTileTokens) {
            const std::uint32_t left = tile.n_tokens - token;
            const std::uint32_t n_tokens = left < kTileTokens ? left : kTileTokens;
            if constexpr (kHasDot) {
                if (n_tokens < kFewestUnpacked) return multiply_few<Type>(tile, token);
            }
            for (std::uint32_t r = 0; r < tile.n_rows; r += kTileRows) multiply_tile(tile, r, token, n_tokens);
        }
    }

private:
    using GatheredTokens = ActivationBlock[kTileTokens][kPanelBlocks + 1];

    /// Copies blocks of activation rows that lie anywhere (x_rows) side by side.
    static void gather(const MatmulTile& tile, std::uint32_t first, std::uint32_t n_tokens, std::size_t block,
                       std::uint32_t n_blocks, GatheredTokens& to) {
        for (std::uint32_t t = 0; t < n_tokens; ++t)
            __builtin_memcpy(to[t], activations_of(tile, first + t) + block, n_blocks * sizeof(ActivationBlock));
    }

    /// Prefetches the rows right behind a tile into the second-level cache, a few lines a block: an expert's few tokens
    /// take less time than a read from memory.
    class RowsAhead {
    public:
        RowsAhead(const MatmulTile& tile, std::uint32_t first_row)
            : at_(tile.weights + (first_row + kTileRows) * tile.row_bytes), end_(at_ + kTileRows * tile.row_bytes) {
            const std::size_t n_blocks = tile.n_in / ActivationBlock::kSize * (kTileRows / (kGroups * kLanes));
            step_ = (kTileRows * tile.row_bytes / n_blocks + 63) / 64 * 64;
        }
        void fetch() {
            const std::byte* end = at_ + step_ < end_ ? at_ + step_ : end_;
            for (; at_ < end; at_ += 64) __builtin_prefetch(at_, 0, 2);
        }
        void leave_out() { at_ = end_; }

    private:
        const std::byte *at_, *end_;
        std::size_t step_;
    };

    static void multiply_panels(const typename Type::Panel (&panels)[kGroups], std::uint32_t n_blocks,
                                const TokenTile& tokens, RowsAhead& ahead, TileSums<kLanes>* sums) {
        if constexpr (requires { &Type::template multiply<BlockPlace::kFirst>; }) {
            alignas(64) TileSums<kLanes> panel_sums[kGroups];
            ahead.fetch();
            Type::template multiply<BlockPlace::kFirst>(panels, 0, tokens, panel_sums, sums);
            for (std::uint32_t b = 1; b < n_blocks - 1; ++b) {
                ahead.fetch();
                Type::template multiply<BlockPlace::kInside>(panels, b, tokens, panel_sums, sums);
            }
            ahead.fetch();
            Type::template multiply<BlockPlace::kLast>(panels, n_blocks - 1, tokens, panel_sums, sums);
        } else {
            for (std::uint32_t b = 0; b < n_blocks; ++b) {
                ahead.fetch();
                Type::multiply(panels, b, tokens, sums);
            }
        }
    }

    /// Up to kTileRows rows for up to kTileTokens tokens.
    static void multiply_tile(const MatmulTile& tile, std::uint32_t first_row, std::uint32_t first_token,
                              std::uint32_t n_tokens) {
        const std::uint32_t left = tile.n_rows - first_row;
        const std::uint32_t n_rows = left < kTileRows ? left : kTileRows;
        alignas(64) TileSums<kLanes> acc[kTileRows / kLanes];
        typename Type::Panel panels[kGroups];
        for (TileSums<kLanes>& group : acc) __builtin_memset(group, 0, n_tokens * sizeof group[0]);
        GatheredTokens gathered;
        RowsAhead ahead(tile, first_row);
        if (first_token + n_tokens < tile.n_tokens) ahead.leave_out();
        TokenTile tokens{activations_of(tile, first_token), activation_stride(tile.n_in), n_tokens};
        if (tile.x_rows != nullptr) tokens = {gathered[0], kPanelBlocks + 1, n_tokens};
        for (std::uint32_t column = 0; column < tile.n_in; column += kPanelColumns) {
            const std::uint32_t blocks_left = (tile.n_in - column) / ActivationBlock::kSize;
            const std::uint32_t n_blocks = blocks_left < kPanelBlocks ? blocks_left : kPanelBlocks;
            const std::size_t at = column / Type::kColumns * Type::kBlockBytes;
            if (tile.x_rows != nullptr)
                gather(tile, first_token, n_tokens, column / ActivationBlock::kSize, n_blocks, gathered);
            for (std::uint32_t r = 0; r < n_rows; r += kGroups * kLanes) {
                for (std::uint32_t group = 0; group < kGroups; ++group) {
                    // Past the end: the first group once more, whose second sums are not stored.
                    const std::uint32_t row = r + group * kLanes < n_rows ? r + group * kLanes : r;
                    Type::unpack(RowGroup<kLanes>(tile, first_row + row), at, n_blocks, panels[group]);
                }
                multiply_panels(panels, n_blocks, tokens, ahead, acc + r / kLanes);
            }
            if (tile.x_rows == nullptr) tokens.first += n_blocks;
        }
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            for (std::uint32_t r = 0; r < n_rows; r += kLanes)
                store_lanes<kLanes>(tile, first_row + r, first_token + t, acc[r / kLanes][t]);
        }
    }
};

}  // namespace
}  // namespace lfm::cpu
