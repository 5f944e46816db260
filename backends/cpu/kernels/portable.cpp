// The portable table: plain C++ that runs on every machine, written so that compilers vectorise it.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/plain_matmul.h"
#include "backends/cpu/kernels/portable_attend.h"
#include "backends/cpu/kernels/portable_rows.h"

namespace lfm::cpu {
namespace {

struct Portable {
    static float f16(std::uint16_t half) { return f16_to_f32(half); }

    static void dot_16(const std::int8_t* level, const std::int8_t* q, std::int32_t (&dot)[2]) {
        for (int half = 0; half < 2; ++half) {
            std::int32_t sum = 0;
            for (int i = 16 * half; i < 16 * half + 16; ++i) sum += static_cast<std::int32_t>(level[i]) * q[i];
            dot[half] = sum;
        }
    }
};

/// f32 activations and weights of 4 or 2 bytes, a piece of the row at a time for up to kTileTokens tokens.
template <portable::ReadRow Read, std::size_t kElementBytes>
struct FloatMatmul {
    static constexpr std::size_t kPiece = 256;  // a multiple of kLanes, so that pieces do not show in the sums
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
        float lanes[kTileTokens][portable::kLanes];
        for (std::uint32_t t = 0; t < n_tokens; ++t)
            for (float& lane : lanes[t]) lane = 0;
        for (std::size_t i = 0; i < tile.n_in; i += kPiece) {
            const std::size_t n = tile.n_in - i < kPiece ? tile.n_in - i : kPiece;
            float w[kPiece];
            Read(weights + i * kElementBytes, n, w);
            for (std::uint32_t t = 0; t < n_tokens; ++t) {
                const std::size_t x_row = tile.x_rows ? tile.x_rows[first + t] : first + t;
                portable::add_products(w, tile.x + x_row * tile.n_in + i, n, lanes[t]);
            }
        }
        for (std::uint32_t t = 0; t < n_tokens; ++t)
            tile.y[(first + t) * tile.y_stride + row] = portable::sum_of_lanes(lanes[t]);
    }
};

constexpr std::uint32_t kInfinityBits = 0x7f800000;

void quantise_block(const float* x, ActivationBlock& to) {
    // Magnitudes compared as integers: the same order, with infinity and the NaNs above all numbers.
    std::uint32_t largest = 0;
    for (std::uint32_t i = 0; i < ActivationBlock::kSize; ++i)
        largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
    to.scale = std::bit_cast<float>(largest) / 127;
    if (to.scale < FLT_MIN) to.scale = 0;  // a subnormal scale is too coarse to keep |q| within 127
    if (largest >= kInfinityBits) to.scale = std::numeric_limits<float>::quiet_NaN();
    for (std::uint32_t half = 0; half < 2; ++half) {
        int total = 0;
        for (std::uint32_t i = 16 * half; i < 16 * half + 16; ++i) {
            to.q[i] = to.scale > 0 ? static_cast<std::int8_t>(std::lrintf(x[i] / to.scale)) : std::int8_t{0};
            total += to.q[i];
        }
        to.sum[half] = static_cast<std::int16_t>(total);
    }
}

void quantise(const float* x, std::size_t n, ActivationBlock* to) {
    for (std::size_t i = 0; i < n; i += ActivationBlock::kSize) quantise_block(x + i, *to++);
}

void swiglu(const float* gate, const float* up, float* y, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

Kernels make_table() {
    Kernels table{.name = "portable", .quantise = quantise, .swiglu = swiglu, .attend = portable::attend};
    const auto use = [&table](DType type, void (*run)(const MatmulTile&)) {
        table.matmul[static_cast<std::size_t>(type)] = {run, ActivationForm::kF32};
    };
    use(DType::kF32, FloatMatmul<portable::read_f32, 4>::run);
    use(DType::kF16, FloatMatmul<portable::read_f16, 2>::run);
    use(DType::kBF16, FloatMatmul<portable::read_bf16, 2>::run);
    use_plain_matmul<Portable>(table);
    return table;
}

}  // namespace

const Kernels& portable_kernels() {
    static const Kernels table = make_table();
    return table;
}

}  // namespace lfm::cpu
