// Random operands of one matmul, every array ending at an unreadable page, and the result in f64.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/kernels/kernels.h"
#include "tests/backends/cpu/guarded.h"
#include "tests/backends/cpu/matmul_cases.h"
#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm::test {

enum class Rows { kInOrder, kGathered };

struct MatmulOperands {
    static constexpr std::uint32_t kBlock = cpu::ActivationBlock::kSize;

    MatmulOperands(const MatmulCase& shape, Rows rows, Random& random)
        : shape(shape),
          n_x(rows == Rows::kGathered ? shape.n_tokens + 2 : shape.n_tokens),
          weights(random_blocks(shape.type, std::size_t{shape.n_rows} * shape.n_in, random)),
          x(random_floats(std::size_t{n_x} * shape.n_in, random)),
          quantised(n_x > 0 ? (n_x - 1) * cpu::activation_stride(shape.n_in) + shape.n_in / kBlock : 0) {
        for (std::uint32_t row = 0; row < n_x && shape.n_in % kBlock == 0; ++row)
            cpu::exact_kernels().quantise(x.data() + std::size_t{row} * shape.n_in, shape.n_in,
                                          quantised.data() + row * cpu::activation_stride(shape.n_in));
        if (rows == Rows::kGathered)
            for (std::uint32_t t = 0; t < shape.n_tokens; ++t) x_rows.push_back(random() % n_x);
    }

    /// All rows and tokens; y must hold y_stride values per token.
    cpu::MatmulTile tile(float* y, std::size_t y_stride) {
        cpu::MatmulTile tile;
        tile.weights = weights.data();
        tile.row_bytes = row_bytes(shape.type, shape.n_in);
        tile.n_rows = shape.n_rows;
        tile.n_in = shape.n_in;
        tile.x = x.data();
        tile.xq = quantised.data();
        tile.x_rows = x_rows.empty() ? nullptr : x_rows.data();
        tile.n_tokens = shape.n_tokens;
        tile.y = y;
        tile.y_stride = y_stride;
        return tile;
    }

    /// Activation i of token t, as a kernel of this form sees it.
    double activation(cpu::ActivationForm form, std::uint32_t t, std::uint32_t i) {
        const std::size_t row = x_rows.empty() ? t : x_rows[t];
        if (form == cpu::ActivationForm::kF32) return x[row * shape.n_in + i];
        const cpu::ActivationBlock& block = quantised[row * cpu::activation_stride(shape.n_in) + i / kBlock];
        return static_cast<double>(block.scale) * block.q[i % kBlock];
    }

    struct Expected {
        double value, magnitude;  // Σ w x, Σ |w x|
    };
    /// [n_tokens, n_rows]
    std::vector<Expected> expected(cpu::ActivationForm form) {
        const std::vector<double> w = naive_weights(shape.type, weights.data(), std::size_t{shape.n_rows} * shape.n_in);
        std::vector<Expected> results;
        std::vector<double> token(shape.n_in);
        for (std::uint32_t t = 0; t < shape.n_tokens; ++t) {
            for (std::uint32_t i = 0; i < shape.n_in; ++i) token[i] = activation(form, t, i);
            for (std::uint32_t r = 0; r < shape.n_rows; ++r) {
                Expected result{};
                for (std::uint32_t i = 0; i < shape.n_in; ++i) {
                    const double product = w[std::size_t{r} * shape.n_in + i] * token[i];
                    result.value += product;
                    result.magnitude += std::fabs(product);
                }
                results.push_back(result);
            }
        }
        return results;
    }

    MatmulCase shape;
    std::uint32_t n_x;  // activation rows
    Guarded<std::byte> weights;
    Guarded<float> x;
    Guarded<cpu::ActivationBlock> quantised;
    std::vector<std::uint32_t> x_rows;
};

}  // namespace lfm::test
