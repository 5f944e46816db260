// The exact table: dequantised weights, f32 activations, everything summed in f64 in one fixed order. The oracle.
#include <cfloat>
#include <cmath>

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {
namespace {

/// One weight row times up to kTileTokens tokens, dequantised a piece at a time.
template <DType type>
struct ExactMatmul {
    static constexpr std::uint32_t kPiece = 256;  // a multiple of every block size
    static constexpr std::uint32_t kTileTokens = 32;

    static void run(const MatmulTile& tile) {
        for (std::uint32_t first = 0; first < tile.n_tokens; first += kTileTokens) {
            const std::uint32_t rest = tile.n_tokens - first;
            const std::uint32_t n_tokens = rest < kTileTokens ? rest : kTileTokens;
            for (std::uint32_t row = 0; row < tile.n_rows; ++row) multiply_row(tile, row, first, n_tokens);
        }
    }

private:
    static void multiply_row(const MatmulTile& tile, std::uint32_t row, std::uint32_t first, std::uint32_t n_tokens) {
        const std::byte* weights = tile.weights + row * tile.row_bytes;
        const std::size_t piece_bytes = row_bytes(type, kPiece);
        double y[kTileTokens] = {};
        for (std::uint32_t i = 0; i < tile.n_in; i += kPiece, weights += piece_bytes) {
            const std::uint32_t n = tile.n_in - i < kPiece ? tile.n_in - i : kPiece;
            float w[kPiece];
            dequantise(type, weights, n, w);
            for (std::uint32_t t = 0; t < n_tokens; ++t) {
                const std::size_t x_row = tile.x_rows ? tile.x_rows[first + t] : first + t;
                y[t] += dot(w, tile.x + x_row * tile.n_in + i, n);
            }
        }
        for (std::uint32_t t = 0; t < n_tokens; ++t)
            tile.y[(first + t) * tile.y_stride + row] = static_cast<float>(y[t]);
    }

    /// Four sums, so that additions need not wait for one another.
    static double dot(const float* w, const float* x, std::uint32_t n) {
        double sums[4] = {};
        std::uint32_t i = 0;
        for (; i + 4 <= n; i += 4)
            for (std::uint32_t lane = 0; lane < 4; ++lane) sums[lane] += static_cast<double>(w[i + lane]) * x[i + lane];
        for (; i < n; ++i) sums[0] += static_cast<double>(w[i]) * x[i];
        return (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
};

void quantise_block(const float* x, ActivationBlock& to) {
    float largest = 0;
    bool finite = true;
    for (std::size_t i = 0; i < ActivationBlock::kSize; ++i) {
        largest = std::fmax(largest, std::fabs(x[i]));
        finite = finite && std::isfinite(x[i]);
    }
    const float step = largest / 127;
    to.scale = !finite ? NAN : step < FLT_MIN ? 0 : step;  // a subnormal scale is too coarse for |q| <= 127
    int sum[2] = {};
    for (std::size_t i = 0; i < ActivationBlock::kSize; ++i) {
        to.q[i] = to.scale > 0 ? static_cast<std::int8_t>(std::lrint(x[i] / to.scale)) : std::int8_t{0};
        sum[i / 16] += to.q[i];
    }
    for (std::size_t half = 0; half < 2; ++half) to.sum[half] = static_cast<std::int16_t>(sum[half]);
}

void quantise(const float* x, std::size_t n, ActivationBlock* to) {
    for (std::size_t i = 0; i < n; i += ActivationBlock::kSize) quantise_block(x + i, *to++);
}

void swiglu(const float* gate, const float* up, float* y, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        const double g = gate[i];
        y[i] = static_cast<float>(g / (1 + std::exp(-g)) * up[i]);
    }
}

double score(const AttendTile& tile, std::uint32_t head, std::uint32_t position) {
    float k[kMaxHeadDim];
    dequantise(tile.k_type, tile.k + tile.row(position) * tile.k_stride, tile.head_dim, k);
    double sum = 0;
    for (std::uint32_t i = 0; i < tile.head_dim; ++i)
        sum += static_cast<double>(tile.q[head * tile.head_dim + i]) * k[i];
    return sum * tile.scale;
}

void attend_head(const AttendTile& tile, std::uint32_t head) {
    // Each score is computed twice: storing them would need memory that grows with the context.
    double largest = -HUGE_VAL;
    for (std::uint32_t p = 0; p < tile.n_keys; ++p) largest = std::fmax(largest, score(tile, head, p));
    double total = 0;
    double sums[kMaxHeadDim] = {};
    for (std::uint32_t p = 0; p < tile.n_keys; ++p) {
        const double weight = std::exp(score(tile, head, p) - largest);
        float v[kMaxHeadDim];
        dequantise(tile.v_type, tile.v + tile.row(p) * tile.v_stride, tile.head_dim, v);
        for (std::uint32_t i = 0; i < tile.head_dim; ++i) sums[i] += weight * v[i];
        total += weight;
    }
    for (std::uint32_t i = 0; i < tile.head_dim; ++i)
        tile.out[head * tile.head_dim + i] = tile.n_keys == 0 ? 0 : static_cast<float>(sums[i] / total);
}

void attend(const AttendTile& tile) {
    for (std::uint32_t head = 0; head < tile.n_heads; ++head) attend_head(tile, head);
}

template <DType... types>
Kernels make_table() {
    Kernels table{.name = "exact", .quantise = quantise, .swiglu = swiglu, .attend = attend};
    ((table.matmul[static_cast<std::size_t>(types)] = {ExactMatmul<types>::run, ActivationForm::kF32}), ...);
    return table;
}

}  // namespace

const Kernels& exact_kernels() {
    using enum DType;
    static const Kernels table = make_table<kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K,
                                            kQ5_K, kQ6_K, kIQ4_NL, kIQ4_XS, kMXFP4>();
    return table;
}

}  // namespace lfm::cpu
