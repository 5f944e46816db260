// Matmul with F32, F16 and BF16 weights and f32 activations. Lane i of a sum takes columns i, i + kWidth, ...: one
// chain of fused multiply-adds per output and lane, the lanes added at the end. So one token and many give the same
// bits.
//
// Target is an instruction set, local to a translation unit (as in unpack.h):
//     using Vector;  static constexpr std::uint32_t kWidth;  // lanes
//     static constexpr std::uint32_t kTokens;  // tokens at once: 4 · kTokens sums should nearly fill the registers
//     static Vector zero(), load(const float*), load_first(const float*, std::uint32_t n);  // zeros behind the first n
//     static Vector add_product(Vector sum, Vector a, Vector b);
//     static float add_lanes(Vector);
// Weights reads a type: static constexpr std::size_t kBytes; static Target::Vector load(const std::byte*).
#pragma once

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/lane_matmul.h"

namespace lfm::cpu {
namespace {

template <class Target, class Weights>
struct FloatMatmul {
    using Vector = typename Target::Vector;
    static constexpr std::uint32_t kWidth = Target::kWidth;
    static constexpr std::uint32_t kGroup = 8;  // rows at once for one token: eight chains hide the latency
    static constexpr std::uint32_t kPanelRows = 4, kColumns = 512;  // 8 KiB of f32
    static constexpr std::uint32_t kTileTokens = 48;

    static void run(const MatmulTile& tile) {
        for (std::uint32_t token = 0; token < tile.n_tokens; token += kTileTokens) {
            const std::uint32_t left = tile.n_tokens - token;
            const std::uint32_t n_tokens = left < kTileTokens ? left : kTileTokens;
            if (n_tokens == 1) {
                for (std::uint32_t r = 0; r < tile.n_rows; r += kGroup) multiply_token(tile, r, token);
            } else {
                for (std::uint32_t r = 0; r < tile.n_rows; r += kPanelRows) multiply_tile(tile, r, token, n_tokens);
            }
        }
    }

private:
    static const float* token_row(const MatmulTile& tile, std::uint32_t token) {
        return tile.x + (tile.x_rows ? tile.x_rows[token] : token) * static_cast<std::size_t>(tile.n_in);
    }

    /// The last n < kWidth columns, then zeros.
    static Vector load_last(const std::byte* w, std::uint32_t n) {
        alignas(64) std::byte bytes[kWidth * sizeof(float)] = {};
        for (std::size_t i = 0; i < n * Weights::kBytes; ++i) bytes[i] = w[i];
        return Weights::load(bytes);
    }

    static void multiply_token(const MatmulTile& tile, std::uint32_t first_row, std::uint32_t token) {
        const RowGroup<kGroup> rows(tile, first_row);
        rows.touch_next_pages();
        const float* x = token_row(tile, token);
        Vector sums[kGroup];
        for (Vector& sum : sums) sum = Target::zero();
        std::uint32_t i = 0;
        for (; i + kWidth <= tile.n_in; i += kWidth) {
            const Vector x_part = Target::load(x + i);
#pragma GCC unroll 8
            for (std::uint32_t row = 0; row < kGroup; ++row) {
                rows.prefetch_next_group(i * Weights::kBytes, kWidth * Weights::kBytes, row, kGroup);
                const Vector w = Weights::load(rows.row[row] + i * Weights::kBytes);
                sums[row] = Target::add_product(sums[row], w, x_part);
            }
        }
        if (i < tile.n_in) {
            const std::uint32_t n = tile.n_in - i;
            const Vector x_part = Target::load_first(x + i, n);
            for (std::uint32_t row = 0; row < kGroup; ++row) {
                sums[row] = Target::add_product(sums[row], load_last(rows.row[row] + i * Weights::kBytes, n), x_part);
            }
        }
        float* y = tile.y + token * tile.y_stride + first_row;
        for (std::uint32_t row = 0; row < rows.n; ++row) y[row] = Target::add_lanes(sums[row]);
    }

    using Panel = float[kPanelRows][kColumns];
    using Sums = Vector[kPanelRows];

    static void store(float* to, Vector v) { __builtin_memcpy(to, &v, sizeof v); }

    /// `n` columns of each row from byte `at` on, with zeros up to a whole vector.
    static void unpack(const RowGroup<kPanelRows>& rows, std::size_t at, std::uint32_t n, Panel& panel) {
        for (std::uint32_t row = 0; row < kPanelRows; ++row) {
            const std::byte* w = rows.row[row] + at;
            std::uint32_t i = 0;
            for (; i + kWidth <= n; i += kWidth) store(panel[row] + i, Weights::load(w + i * Weights::kBytes));
            if (i < n) store(panel[row] + i, load_last(w + i * Weights::kBytes, n - i));
        }
    }

    /// Four rows for kCount tokens, in registers.
    template <std::uint32_t kCount>
    static void multiply(const Panel& panel, const float* const* x, std::uint32_t n, Sums* sums) {
        Vector acc[kCount][kPanelRows];
        for (std::uint32_t t = 0; t < kCount; ++t) {
            for (std::uint32_t row = 0; row < kPanelRows; ++row) acc[t][row] = sums[t][row];
        }
        const auto step = [&](std::uint32_t i, const Vector(&x_part)[kCount]) {
#pragma GCC unroll 4
            for (std::uint32_t row = 0; row < kPanelRows; ++row) {
                const Vector w = Target::load(panel[row] + i);
#pragma GCC unroll 8
                for (std::uint32_t t = 0; t < kCount; ++t) acc[t][row] = Target::add_product(acc[t][row], w, x_part[t]);
            }
        };
        Vector x_part[kCount];
        std::uint32_t i = 0;
        for (; i + kWidth <= n; i += kWidth) {
#pragma GCC unroll 8
            for (std::uint32_t t = 0; t < kCount; ++t) x_part[t] = Target::load(x[t] + i);
            step(i, x_part);
        }
        if (i < n) {
            for (std::uint32_t t = 0; t < kCount; ++t) x_part[t] = Target::load_first(x[t] + i, n - i);
            step(i, x_part);
        }
        for (std::uint32_t t = 0; t < kCount; ++t) {
            for (std::uint32_t row = 0; row < kPanelRows; ++row) sums[t][row] = acc[t][row];
        }
    }

    static void multiply_tile(const MatmulTile& tile, std::uint32_t first_row, std::uint32_t first_token,
                              std::uint32_t n_tokens) {
        const RowGroup<kPanelRows> rows(tile, first_row);
        alignas(64) Panel panel;
        Sums sums[kTileTokens];
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            for (Vector& sum : sums[t]) sum = Target::zero();
        }
        for (std::uint32_t column = 0; column < tile.n_in; column += kColumns) {
            const std::uint32_t left = tile.n_in - column, n = left < kColumns ? left : kColumns;
            unpack(rows, column * Weights::kBytes, n, panel);
            for (std::uint32_t t = 0; t < n_tokens;) {
                const float* x[Target::kTokens];
                const std::uint32_t count = n_tokens - t < Target::kTokens ? 1 : Target::kTokens;
                for (std::uint32_t k = 0; k < count; ++k) x[k] = token_row(tile, first_token + t + k) + column;
                if (count == 1)
                    multiply<1>(panel, x, n, sums + t);
                else
                    multiply<Target::kTokens>(panel, x, n, sums + t);
                t += count;
            }
        }
        for (std::uint32_t t = 0; t < n_tokens; ++t) {
            float* y = tile.y + (first_token + t) * tile.y_stride + first_row;
            for (std::uint32_t row = 0; row < rows.n; ++row) y[row] = Target::add_lanes(sums[t][row]);
        }
    }
};

}  // namespace
}  // namespace lfm::cpu
