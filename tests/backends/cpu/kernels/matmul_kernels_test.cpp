#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "memory/half.h"
#include "tests/backends/cpu/matmul_operands.h"

namespace lfm {
namespace {

using test::MatmulCase;
using test::MatmulOperands;
using test::Rows;

class MatmulKernels : public testing::TestWithParam<std::tuple<DTypeInfo, const cpu::Kernels*>> {
protected:
    DType type() const { return std::get<0>(GetParam()).type; }
    const cpu::MatmulKernel& kernel() const { return std::get<1>(GetParam())->matmul_for(type()); }
    test::Random random_{std::get<0>(GetParam()).block_bytes};
};

std::string name_of(const testing::TestParamInfo<MatmulKernels::ParamType>& info) {
    return std::string(std::get<0>(info.param).name) + "_" + std::string(std::get<1>(info.param)->name);
}

INSTANTIATE_TEST_SUITE_P(All, MatmulKernels,
                         testing::Combine(testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                                          testing::ValuesIn(cpu::available_kernels().begin(),
                                                            cpu::available_kernels().end())),
                         name_of);

/// The largest NMSE that is accepted, against f64 on the same operands.
double largest_nmse(DType type) {
    if (type == DType::kF32) return 1e-10;
    return type == DType::kF16 || type == DType::kBF16 ? 1e-6 : 1e-9;
}

std::string description(const MatmulCase& shape) {
    return std::to_string(shape.n_rows) + " rows, " + std::to_string(shape.n_in) + " in, " +
           std::to_string(shape.n_tokens) + " tokens";
}

TEST_P(MatmulKernels, MatchF64OnTheSameOperands) {
    constexpr float kUntouched = 12345.5f;
    test::Nmse nmse;
    std::size_t turn = 0;
    for (const MatmulCase& shape : test::matmul_cases(type())) {
        const Rows rows = turn % 2 == 0 ? Rows::kInOrder : Rows::kGathered;
        const std::size_t y_stride = shape.n_rows + turn++ % 3;
        MatmulOperands operands(shape, rows, random_);
        std::vector<float> y(y_stride * shape.n_tokens, kUntouched);
        kernel().run(operands.tile(y.data(), y_stride));

        const auto expected = operands.expected(kernel().activations);
        for (std::size_t t = 0; t < shape.n_tokens; ++t)
            for (std::size_t r = 0; r < y_stride; ++r) {
                if (r >= shape.n_rows) {
                    ASSERT_EQ(y[t * y_stride + r], kUntouched) << description(shape);
                    continue;
                }
                const auto& [value, magnitude] = expected[t * shape.n_rows + r];
                // One output may cancel to nearly nothing, so alone it is held to the size of its terms.
                ASSERT_NEAR(y[t * y_stride + r], value, 1e-5 * magnitude + 1e-36)
                    << description(shape) << ": row " << r << ", token " << t;
                nmse.add(y[t * y_stride + r], value);
            }
    }
    RecordProperty("nmse", std::to_string(std::log10(nmse.value())));
    EXPECT_LE(nmse.value(), largest_nmse(type()));
}

TEST_P(MatmulKernels, StayNearTheExactTable) {
    test::Nmse nmse;
    for (const MatmulCase& shape : test::matmul_cases(type())) {
        MatmulOperands operands(shape, Rows::kInOrder, random_);
        std::vector<float> y(shape.n_rows * shape.n_tokens), exact(y.size());
        kernel().run(operands.tile(y.data(), shape.n_rows));
        cpu::exact_kernels().matmul_for(type()).run(operands.tile(exact.data(), shape.n_rows));
        for (std::size_t i = 0; i < y.size(); ++i) nmse.add(y[i], exact[i]);
    }
    RecordProperty("nmse", std::to_string(std::log10(nmse.value())));
    EXPECT_LE(nmse.value(), kernel().activations == cpu::ActivationForm::kQ8 ? 1e-4 : 1e-10);
}

/// Placements and batch sizes must not show in the text: an output depends on its row and token alone.
TEST_P(MatmulKernels, CuttingTheWorkChangesNoBit) {
    const std::uint32_t n_in = test::input_sizes(type()).back();
    for (std::uint32_t n_tokens : {2u, 7u, 33u, 94u}) {
        const MatmulCase shape{type(), 17, n_in, n_tokens};
        MatmulOperands operands(shape, Rows::kGathered, random_);
        std::vector<float> whole(shape.n_rows * n_tokens), cut(whole.size());
        kernel().run(operands.tile(whole.data(), shape.n_rows));
        for (std::uint32_t row = 0, n_rows = 1; row < shape.n_rows; row += n_rows, n_rows = 3) {
            for (std::uint32_t t = 0; t < n_tokens; ++t) {
                cpu::MatmulTile tile = operands.tile(cut.data() + t * shape.n_rows + row, shape.n_rows);
                tile.weights += row * tile.row_bytes;
                tile.n_rows = std::min(n_rows, shape.n_rows - row);
                tile.x_rows += t;
                tile.n_tokens = 1;
                kernel().run(tile);
            }
        }
        for (std::size_t i = 0; i < whole.size(); ++i)
            ASSERT_EQ(std::bit_cast<std::uint32_t>(whole[i]), std::bit_cast<std::uint32_t>(cut[i]))
                << n_tokens << " tokens: output " << i << ", " << whole[i] << " and " << cut[i];
    }
}

TEST_P(MatmulKernels, WeightsMayLieAnywhere) {
    const MatmulCase shape{type(), 5, test::input_sizes(type()).back(), 3};
    MatmulOperands operands(shape, Rows::kInOrder, random_);
    std::vector<float> y(shape.n_rows * shape.n_tokens), shifted_y(y.size());
    kernel().run(operands.tile(y.data(), shape.n_rows));
    for (std::size_t shift = 1; shift < 4; ++shift) {
        std::vector<std::byte> shifted(shift);
        shifted.insert(shifted.end(), operands.weights.span().begin(), operands.weights.span().end());
        cpu::MatmulTile tile = operands.tile(shifted_y.data(), shape.n_rows);
        tile.weights = shifted.data() + shift;
        kernel().run(tile);
        ASSERT_EQ(y, shifted_y) << shift;
    }
}

TEST_P(MatmulKernels, NothingToDoIsFine) {
    MatmulOperands operands({type(), 3, test::input_sizes(type()).front(), 2}, Rows::kInOrder, random_);
    cpu::MatmulTile no_tokens = operands.tile(nullptr, 3), no_rows = no_tokens;
    no_tokens.n_tokens = 0;
    no_rows.n_rows = 0;
    kernel().run(no_tokens);
    kernel().run(no_rows);
}

class KernelTables : public testing::TestWithParam<const cpu::Kernels*> {};

INSTANTIATE_TEST_SUITE_P(All, KernelTables,
                         testing::ValuesIn(cpu::available_kernels().begin(), cpu::available_kernels().end()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(KernelTables, ReadEveryFiniteF16) {
    const std::uint32_t n = 0x7c00;  // rows of one weight each
    for (std::uint32_t sign : {0u, 0x8000u}) {
        std::vector<std::uint16_t> halves(n);
        for (std::uint32_t i = 0; i < n; ++i) halves[i] = static_cast<std::uint16_t>(sign | i);
        const float one = 1;
        std::vector<float> y(n);
        cpu::MatmulTile tile;
        tile.weights = std::as_bytes(std::span(halves)).data();
        tile.row_bytes = sizeof(std::uint16_t);
        tile.n_rows = n;
        tile.n_in = tile.n_tokens = 1;
        tile.x = &one;
        tile.y = y.data();
        tile.y_stride = n;
        const cpu::MatmulKernel& kernel = GetParam()->matmul_for(DType::kF16);
        ASSERT_EQ(kernel.activations, cpu::ActivationForm::kF32);
        kernel.run(tile);
        for (std::uint32_t i = 0; i < n; ++i) ASSERT_EQ(y[i], f16_to_f32(halves[i])) << i;
    }
}

/// The smallest values are subnormal in f32, so a large activation scales them up.
TEST_P(KernelTables, ReadEveryExponentOfMxfp4) {
    test::Guarded<std::byte> block(17);
    test::Guarded<float> x(32);
    test::Guarded<cpu::ActivationBlock> quantised(1);
    block[1] = std::byte{0x07};  // weight 0: level 12
    quantised[0].q[0] = 1;
    quantised[0].sum[0] = 1;
    for (int exponent = 0; exponent < 256; ++exponent) {
        block[0] = static_cast<std::byte>(exponent);
        quantised[0].scale = x[0] = exponent < 128 ? 0x1p100f : 0x1p-100f;
        float y = 0;
        cpu::MatmulTile tile;
        tile.weights = block.data();
        tile.row_bytes = 17;
        tile.n_rows = tile.n_tokens = 1;
        tile.n_in = 32;
        tile.x = x.data();
        tile.xq = quantised.data();
        tile.y = &y;
        tile.y_stride = 1;
        GetParam()->matmul_for(DType::kMXFP4).run(tile);
        if (exponent > 250) continue;  // the largest overflow before they are multiplied with the activation
        EXPECT_EQ(y, std::ldexp(12.0, exponent - 128) * x[0]) << exponent;
    }
}

}  // namespace
}  // namespace lfm
