#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/kernels/kernels.h"
#include "tests/backends/cpu/guarded.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm {
namespace {

class Elementwise : public testing::TestWithParam<const cpu::Kernels*> {};

INSTANTIATE_TEST_SUITE_P(All, Elementwise,
                         testing::ValuesIn(cpu::available_kernels().begin(), cpu::available_kernels().end()),
                         [](const auto& test) { return std::string(test.param->name); });

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST_P(Elementwise, SwigluMatchesF64) {
    test::Random random(3);
    test::Nmse nmse;
    for (std::size_t n : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 1792}) {
        std::vector<float> wide = test::random_floats(n, random);
        for (float& value : wide) value *= 8;
        test::Guarded<float> gate(wide), up(test::random_floats(n, random)), y(n);
        GetParam()->swiglu(gate.data(), up.data(), y.data(), n);
        for (std::size_t i = 0; i < n; ++i) {
            const double expected = silu(gate[i]) * up[i];
            ASSERT_NEAR(y[i], expected, 1e-6 * std::fabs(expected) + 1e-9) << gate[i];
            nmse.add(y[i], expected);
        }
        GetParam()->swiglu(gate.data(), up.data(), gate.data(), n);
        for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(gate[i], y[i]) << "in place";
    }
    RecordProperty("nmse", std::to_string(std::log10(nmse.value())));
    EXPECT_LE(nmse.value(), 1e-7);
}

TEST_P(Elementwise, SwigluOfLargeGates) {
    std::vector<float> gate{0, -0.0f, 20, -20, 88, -88, 100, -100, 1e4f, -1e4f, 1e38f, -1e38f}, y(gate.size());
    const std::vector<float> up(gate.size(), 0.5f);
    GetParam()->swiglu(gate.data(), up.data(), y.data(), gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i) {
        const double expected = silu(gate[i]) * 0.5;
        EXPECT_NEAR(y[i], expected, 1e-6 * std::fabs(expected) + 1e-20) << gate[i];
    }
}

/// The blocks of a row, taken apart.
struct Quantised {
    std::vector<int> q, sum;
    std::vector<float> scale;
};

Quantised quantise(const cpu::Kernels& kernels, std::span<const float> x) {
    test::Guarded<float> guarded(x);
    test::Guarded<cpu::ActivationBlock> blocks(x.size() / cpu::ActivationBlock::kSize);
    kernels.quantise(guarded.data(), x.size(), blocks.data());
    Quantised result;
    for (const cpu::ActivationBlock& block : blocks.span()) {
        result.q.insert(result.q.end(), std::begin(block.q), std::end(block.q));
        result.sum.insert(result.sum.end(), std::begin(block.sum), std::end(block.sum));
        result.scale.push_back(block.scale);
    }
    return result;
}

TEST_P(Elementwise, QuantiseFollowsItsDefinition) {
    test::Random random(4);
    for (std::size_t n : {32, 64, 96, 160, 256, 2048}) {
        std::vector<float> x = test::random_floats(n, random);
        for (std::size_t i = 0; i < n; ++i) x[i] *= std::ldexp(1.0f, static_cast<int>(i / 32 % 40) - 20);
        // Half of the blocks on or beside ties, where x · (1 / scale) would round differently.
        for (std::size_t i = 0; i < n; ++i)
            if (i / 32 % 2 == 0 && i % 32 != 0)
                x[i] = (static_cast<float>(random() % 127) + 0.5f) * (x[i / 32 * 32] / 127);
        Quantised result = quantise(*GetParam(), x);
        for (std::size_t block = 0; block < n / 32; ++block) {
            float largest = 0;
            for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[32 * block + i]));
            ASSERT_EQ(result.scale[block], largest / 127);
            for (std::size_t i = 32 * block; i < 32 * block + 32; ++i)
                ASSERT_EQ(result.q[i], std::nearbyint(x[i] / result.scale[block])) << x[i];
        }
        for (std::size_t i = 0; i < n / 16; ++i)
            ASSERT_EQ(result.sum[i], std::accumulate(&result.q[16 * i], &result.q[16 * i] + 16, 0));
    }
}

TEST_P(Elementwise, QuantiseRoundsTiesToEven) {
    std::vector<float> x(32, 0.5f);  // scale 1
    x[0] = -127;
    x[1] = 1.5f;
    x[2] = 2.5f;
    x[3] = -2.5f;
    x[4] = -3.5f;
    Quantised result = quantise(*GetParam(), x);
    EXPECT_EQ(result.scale[0], 1);
    const int expected[] = {-127, 2, 2, -2, -4, 0};
    for (std::size_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(result.q[i], expected[i]) << x[i];
    EXPECT_EQ(result.sum[0], -129);
    EXPECT_EQ(result.sum[1], 0);
}

TEST_P(Elementwise, QuantiseOfNothingIsZero) {
    // Zeros, and values whose scale would be subnormal and so too coarse.
    const float tiny = std::numeric_limits<float>::denorm_min();
    for (float value : {0.0f, -0.0f, tiny, -190 * tiny, 1e-38f}) {
        Quantised result = quantise(*GetParam(), std::vector<float>(32, value));
        EXPECT_EQ(result.scale[0], 0) << value;
        for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(result.q[i], 0) << value;
        EXPECT_EQ(result.sum[0], 0);
        EXPECT_EQ(result.sum[1], 0);
    }
}

TEST_P(Elementwise, QuantiseReachesBothEnds) {
    for (float largest : {1e-30f, 0.3f, 7.7f, 1e30f, std::numeric_limits<float>::max()}) {
        std::vector<float> x(32, largest);
        x[5] = x[31] = -largest;
        Quantised result = quantise(*GetParam(), x);
        for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(result.q[i], x[i] < 0 ? -127 : 127) << largest;
    }
}

}  // namespace
}  // namespace lfm
