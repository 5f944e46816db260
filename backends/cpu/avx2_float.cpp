// F32, F16 and BF16 weights with f32 activations. Lane i of a sum takes columns i, i + 8, ...; one chain of fused
// multiply-adds per output and lane, the lanes added at the end: the same bits for one token and for many.
#include "backends/cpu/avx2_kernels.h"
#include "backends/cpu/avx2_lanes.h"
#include "backends/cpu/avx2_math.h"

namespace lfm::cpu::avx2 {
namespace {

constexpr std::uint32_t kGroup = 8;  // rows at once for one token
constexpr std::uint32_t kPanelRows = 4, kFloatPanelColumns = 512;  // 8 KiB of f32
constexpr std::uint32_t kTileTokens = 48;                     // their sums: 6 KiB
constexpr std::uint32_t kTokens = 3;  // 4 rows × 3 tokens: twelve sums, three activations, one weight: 16 registers

struct F32 {
    static constexpr std::size_t kBytes = 4;
    static __m256 load(const std::byte* w) { return _mm256_loadu_ps(reinterpret_cast<const float*>(w)); }
};
struct F16 {
    static constexpr std::size_t kBytes = 2;
    static __m256 load(const std::byte* w) { return _mm256_cvtph_ps(load16(w)); }
};
struct BF16 {
    static constexpr std::size_t kBytes = 2;
    static __m256 load(const std::byte* w) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(w)), 16));
    }
};

/// The last n < 8 columns, then zeros.
template <class Type>
__m256 load_last(const std::byte* w, std::uint32_t n) {
    alignas(32) std::byte bytes[32] = {};
    for (std::size_t i = 0; i < n * Type::kBytes; ++i) bytes[i] = w[i];
    return Type::load(bytes);
}

inline const float* token_row(const MatmulTile& tile, std::uint32_t token) {
    return tile.x + (tile.x_rows ? tile.x_rows[token] : token) * static_cast<std::size_t>(tile.n_in);
}

template <class Type>
void multiply_token(const MatmulTile& tile, std::uint32_t token) {
    const float* x = token_row(tile, token);
    float* y = tile.y + token * tile.y_stride;
    for (std::uint32_t r = 0; r < tile.n_rows; r += kGroup) {
        const RowGroup<kGroup> rows(tile, r);
        __m256 sums[kGroup] = {};
        std::uint32_t i = 0;
        for (; i + 8 <= tile.n_in; i += 8) {
            rows.prefetch_next_group(i * Type::kBytes, 8 * Type::kBytes);
            const __m256 x8 = _mm256_loadu_ps(x + i);
#pragma GCC unroll 8
            for (std::uint32_t row = 0; row < kGroup; ++row) {
                sums[row] = _mm256_fmadd_ps(Type::load(rows.row[row] + i * Type::kBytes), x8, sums[row]);
            }
        }
        if (i < tile.n_in) {
            const std::uint32_t n = tile.n_in - i;
            const __m256 x8 = _mm256_maskload_ps(x + i, first_lanes(n));
            for (std::uint32_t row = 0; row < kGroup; ++row) {
                const __m256 w = load_last<Type>(rows.row[row] + i * Type::kBytes, n);
                sums[row] = _mm256_fmadd_ps(w, x8, sums[row]);
            }
        }
        for (std::uint32_t row = 0; row < rows.n; ++row) y[r + row] = add_lanes(sums[row]);
    }
}

using Panel = float[kPanelRows][kFloatPanelColumns];
using Sums = __m256[kPanelRows];

/// `n_columns` from byte `at` of four rows on, filled up with zeros to a multiple of 8.
template <class Type>
void unpack(const RowGroup<kPanelRows>& rows, std::size_t at, std::uint32_t n_columns, Panel& panel) {
    for (std::uint32_t row = 0; row < kPanelRows; ++row) {
        const std::byte* w = rows.row[row] + at;
        std::uint32_t i = 0;
        for (; i + 8 <= n_columns; i += 8) _mm256_store_ps(panel[row] + i, Type::load(w + i * Type::kBytes));
        if (i < n_columns) _mm256_store_ps(panel[row] + i, load_last<Type>(w + i * Type::kBytes, n_columns - i));
    }
}

template <std::uint32_t kCount>
void multiply(const Panel& panel, const float* const* x, std::uint32_t n_columns, Sums* sums) {
    __m256 acc[kCount][kPanelRows];
    for (std::uint32_t t = 0; t < kCount; ++t) {
        for (std::uint32_t row = 0; row < kPanelRows; ++row) acc[t][row] = sums[t][row];
    }
    const auto step = [&](std::uint32_t i, const __m256 (&x8)[kCount]) {
#pragma GCC unroll 4
        for (std::uint32_t row = 0; row < kPanelRows; ++row) {
            const __m256 w = _mm256_load_ps(panel[row] + i);
#pragma GCC unroll 4
            for (std::uint32_t t = 0; t < kCount; ++t) acc[t][row] = _mm256_fmadd_ps(w, x8[t], acc[t][row]);
        }
    };
    std::uint32_t i = 0;
    for (; i + 8 <= n_columns; i += 8) {
        __m256 x8[kCount];
#pragma GCC unroll 4
        for (std::uint32_t t = 0; t < kCount; ++t) x8[t] = _mm256_loadu_ps(x[t] + i);
        step(i, x8);
    }
    if (i < n_columns) {
        __m256 x8[kCount];
        for (std::uint32_t t = 0; t < kCount; ++t) x8[t] = _mm256_maskload_ps(x[t] + i, first_lanes(n_columns - i));
        step(i, x8);
    }
    for (std::uint32_t t = 0; t < kCount; ++t) {
        for (std::uint32_t row = 0; row < kPanelRows; ++row) sums[t][row] = acc[t][row];
    }
}

/// Four rows (fewer at the end) for up to kTileTokens tokens.
template <class Type>
void multiply_tile(const MatmulTile& tile, std::uint32_t first_row, std::uint32_t first_token, std::uint32_t n_tokens) {
    const RowGroup<kPanelRows> rows(tile, first_row);
    alignas(32) Panel panel;
    Sums sums[kTileTokens] = {};
    for (std::uint32_t column = 0; column < tile.n_in; column += kFloatPanelColumns) {
        const std::uint32_t left = tile.n_in - column;
        const std::uint32_t n_columns = left < kFloatPanelColumns ? left : kFloatPanelColumns;
        unpack<Type>(rows, column * Type::kBytes, n_columns, panel);
        for (std::uint32_t t = 0; t < n_tokens; t += kTokens) {
            const std::uint32_t count = n_tokens - t < kTokens ? n_tokens - t : kTokens;
            const float* x[kTokens];
            for (std::uint32_t k = 0; k < count; ++k) x[k] = token_row(tile, first_token + t + k) + column;
            if (count == 3) multiply<3>(panel, x, n_columns, sums + t);
            if (count == 2) multiply<2>(panel, x, n_columns, sums + t);
            if (count == 1) multiply<1>(panel, x, n_columns, sums + t);
        }
    }
    for (std::uint32_t t = 0; t < n_tokens; ++t) {
        float* y = tile.y + (first_token + t) * tile.y_stride + first_row;
        for (std::uint32_t row = 0; row < rows.n; ++row) y[row] = add_lanes(sums[t][row]);
    }
}

template <class Type>
void matmul(const MatmulTile& tile) {
    for (std::uint32_t token = 0; token < tile.n_tokens; token += kTileTokens) {
        const std::uint32_t left = tile.n_tokens - token;
        const std::uint32_t n_tokens = left < kTileTokens ? left : kTileTokens;
        if (n_tokens == 1) {
            multiply_token<Type>(tile, token);
        } else {
            for (std::uint32_t r = 0; r < tile.n_rows; r += kPanelRows) {
                multiply_tile<Type>(tile, r, token, n_tokens);
            }
        }
    }
}

}  // namespace

void matmul_f32(const MatmulTile& tile) { matmul<F32>(tile); }
void matmul_f16(const MatmulTile& tile) { matmul<F16>(tile); }
void matmul_bf16(const MatmulTile& tile) { matmul<BF16>(tile); }

}  // namespace lfm::cpu::avx2
