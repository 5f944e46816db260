// Matmul with quantised weights, rows side by side in the lanes of a vector. The sum of a block of 32 products is an
// exact integer; only the step from block to block is in f32, one chain per output:
//     acc = fma(activation scale, weight scale · sum, acc)
// So one token or many, every cut of the work and every instruction set that uses this give the same bits.
//
// One token: weights go from memory through registers. Several: kLanes rows × 256 columns are unpacked once into a
// panel and serve a tile of tokens, whose activations lie packed beside it in the first-level cache.
//
// Type offers, for one block type and instruction set:
//     static constexpr std::uint32_t kLanes;
//     static constexpr std::size_t kColumns, kBlockBytes;  // of a weight block
//     static constexpr std::int32_t kOffset;               // times Σ x: what a block's sum of products starts from
//     struct Panel;                                        // kLanes rows × 256 columns
//     static void dot(const RowGroup<kLanes>&, const Activation&, std::uint32_t n_in, float* y);
//     static void unpack(const RowGroup<kLanes>&, std::size_t at, std::uint32_t n_blocks, Panel&);
//     static void multiply(const Panel&, std::uint32_t block, const PackedBlock*, std::uint32_t n_tokens, float* acc);
#pragma once

#include "backends/cpu/kernels.h"

namespace lfm::cpu {
namespace {  // each instruction set its own copy: none can win at link time

/// Neighbouring rows; past the last row the last one is repeated, and not stored.
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

    /// Many rows at a time look like many streams, which hardware does not follow. The next group lies right behind
    /// this one. `at` bytes of each row are done, `bytes` more are next.
    void prefetch_next_group(std::size_t at, std::size_t bytes) const {
        const std::byte* next = row[0] + kLanes * (stride + at);
        for (std::size_t i = 0; i < kLanes * bytes; i += 64) __builtin_prefetch(next + i);
    }

    /// Looks up the next group's addresses all at once, so that the page walks overlap.
    void touch_next_pages() const {
        constexpr std::size_t kPage = 4096;
        const std::byte* next = row[0] + kLanes * stride;
        for (std::size_t i = 0; i < kLanes * stride + kPage; i += kPage) __builtin_prefetch(next + i);
    }
};

/// One token's activations.
struct Activation {
    const std::int8_t* q;
    const float* scale;
    const std::int16_t* sum;

    Activation(const MatmulTile& tile, std::uint32_t token) {
        const std::size_t row = tile.x_rows ? tile.x_rows[token] : token;
        q = tile.xq.q + row * tile.n_in;
        scale = tile.xq.scale + row * (tile.n_in / kActivationBlock);
        sum = tile.xq.sum + row * (tile.n_in / kSumBlock);
    }
};

/// A block of 32 activations.
struct alignas(16) PackedBlock {
    std::int8_t q[kActivationBlock];
    float scale;
    std::int16_t sum[2];
    std::int32_t offset;  // kOffset · Σ q
};

constexpr std::uint32_t kPanelColumns = 256;
constexpr std::uint32_t kPanelBlocks = kPanelColumns / kActivationBlock;

template <class Type>
struct LaneMatmul {
    static constexpr std::uint32_t kLanes = Type::kLanes;
    // Activations 12 KiB, sums 8, panel 2 to 5: within 32 KiB. Of the time, packing takes 6 % with eight lanes and 64
    // rows (12 % with sixteen), unpacking 9 % with 32 tokens.
    static constexpr std::uint32_t kTileTokens = 32, kTileRows = 64;
    static constexpr std::uint32_t kMinBatch = 4;  // unpacking costs as much as three tokens

    static void run(const MatmulTile& tile) {
        for (std::uint32_t token = 0; token < tile.n_tokens; token += kTileTokens) {
            const std::uint32_t left = tile.n_tokens - token;
            const std::uint32_t n_tokens = left < kTileTokens ? left : kTileTokens;
            if (n_tokens < kMinBatch) {
                for (std::uint32_t r = 0; r < tile.n_rows; r += kLanes) multiply_tokens(tile, r, token, n_tokens);
            } else {
                for (std::uint32_t r = 0; r < tile.n_rows; r += kTileRows) multiply_tile(tile, r, token, n_tokens);
            }
        }
    }

private:
    static void store(const MatmulTile& tile, std::uint32_t row, std::uint32_t token, const float* lanes) {
        const std::uint32_t left = tile.n_rows - row;
        float* y = tile.y + token * tile.y_stride + row;
        if (left >= kLanes) {
            __builtin_memcpy(y, lanes, kLanes * sizeof(float));
        } else {
            for (std::uint32_t r = 0; r < left; ++r) y[r] = lanes[r];
        }
    }

    static void multiply_tokens(const MatmulTile& tile, std::uint32_t row, std::uint32_t first,
                                std::uint32_t n_tokens) {
        const RowGroup<kLanes> rows(tile, row);
        rows.touch_next_pages();
        for (std::uint32_t t = first; t < first + n_tokens; ++t) {
            alignas(64) float y[kLanes];
            Type::dot(rows, Activation(tile, t), tile.n_in, y);
            store(tile, row, t, y);
        }
    }

    using PackedTokens = PackedBlock[kPanelBlocks][kTileTokens];

    static void pack(const MatmulTile& tile, std::uint32_t first, std::uint32_t n_tokens, std::uint32_t block,
                     std::uint32_t n_blocks, PackedTokens& packed) {
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            const Activation x(tile, first + t);
            for (std::uint32_t b = 0; b < n_blocks; ++b) {
                PackedBlock& to = packed[b][t];
                const std::size_t from = block + b;
                __builtin_memcpy(to.q, x.q + kActivationBlock * from, sizeof to.q);
                to.scale = x.scale[from];
                __builtin_memcpy(to.sum, x.sum + 2 * from, sizeof to.sum);
                to.offset = Type::kOffset * (x.sum[2 * from] + x.sum[2 * from + 1]);
            }
        }
    }

    /// Up to kTileRows rows for up to kTileTokens tokens.
    static void multiply_tile(const MatmulTile& tile, std::uint32_t first_row, std::uint32_t first_token,
                              std::uint32_t n_tokens) {
        const std::uint32_t left = tile.n_rows - first_row;
        const std::uint32_t n_rows = left < kTileRows ? left : kTileRows;
        alignas(64) float acc[kTileRows / kLanes][kTileTokens][kLanes];
        alignas(64) PackedTokens x;
        typename Type::Panel panel;
        for (std::uint32_t r = 0; r < n_rows; r += kLanes) __builtin_memset(acc[r / kLanes], 0, sizeof acc[0]);
        for (std::uint32_t column = 0; column < tile.n_in; column += kPanelColumns) {
            const std::uint32_t blocks_left = (tile.n_in - column) / kActivationBlock;
            const std::uint32_t n_blocks = blocks_left < kPanelBlocks ? blocks_left : kPanelBlocks;
            pack(tile, first_token, n_tokens, column / kActivationBlock, n_blocks, x);
            for (std::uint32_t r = 0; r < n_rows; r += kLanes) {
                const std::size_t at = column / Type::kColumns * Type::kBlockBytes;
                Type::unpack(RowGroup<kLanes>(tile, first_row + r), at, n_blocks, panel);
                for (std::uint32_t b = 0; b < n_blocks; ++b) {
                    Type::multiply(panel, b, x[b], n_tokens, acc[r / kLanes][0]);
                }
            }
        }
        for (std::uint32_t r = 0; r < n_rows; r += kLanes) {
            for (std::uint32_t t = 0; t < n_tokens; ++t)
                store(tile, first_row + r, first_token + t, acc[r / kLanes][t]);
        }
    }
};

}  // namespace
}  // namespace lfm::cpu
