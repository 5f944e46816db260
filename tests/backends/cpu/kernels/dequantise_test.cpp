#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/kernels/kernels.h"
#include "memory/half.h"
#include "tests/backends/cpu/guarded.h"
#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm {
namespace {

class Dequantise : public testing::TestWithParam<DTypeInfo> {};

INSTANTIATE_TEST_SUITE_P(Types, Dequantise, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Dequantise, FollowsTheFormatWeightByWeight) {
    const DTypeInfo& type = GetParam();
    test::Random random(type.block_bytes);
    for (int repeat = 0; repeat < 200; ++repeat) {
        const std::size_t n = type.block_size;
        test::Guarded<std::byte> block(test::random_blocks(type.type, n, random));
        std::vector<float> values(n);
        cpu::dequantise(type.type, block.data(), n, values.data());
        const std::vector<double> expected = test::naive_weights(type.type, block.data(), n);
        double largest = 0;
        for (double value : expected) largest = std::max(largest, std::fabs(value));
        for (std::size_t i = 0; i < n; ++i)
            ASSERT_NEAR(values[i], expected[i], largest * 0x1p-22) << "weight " << i << " of block " << repeat;
    }
}

TEST_P(Dequantise, ManyBlocksAreOneAfterAnother) {
    const DTypeInfo& type = GetParam();
    test::Random random(1);
    const std::size_t n = 5 * type.block_size;
    test::Guarded<std::byte> blocks(test::random_blocks(type.type, n, random));
    test::Guarded<float> together(n);
    cpu::dequantise(type.type, blocks.data(), n, together.data());
    for (std::size_t block = 0; block < 5; ++block) {
        std::vector<float> alone(type.block_size);
        cpu::dequantise(type.type, blocks.data() + block * type.block_bytes, type.block_size, alone.data());
        for (std::size_t i = 0; i < type.block_size; ++i)
            ASSERT_EQ(std::bit_cast<std::uint32_t>(alone[i]),
                      std::bit_cast<std::uint32_t>(together[block * type.block_size + i]));
    }
}

TEST(DequantiseF16, EveryBitPattern) {
    std::vector<std::uint16_t> halves(65536);
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
    std::vector<float> values(halves.size());
    cpu::dequantise(DType::kF16, std::as_bytes(std::span(halves)).data(), halves.size(), values.data());
    for (std::size_t i = 0; i < halves.size(); ++i) {
        const double expected = test::naive_weights(DType::kF16, std::as_bytes(std::span(&halves[i], 1)).data(), 1)[0];
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(values[i])) << i;
        } else {
            EXPECT_EQ(values[i], expected) << i;
        }
    }
}

TEST(DequantiseMxfp4, EveryExponent) {
    for (int exponent = 0; exponent < 256; ++exponent) {
        std::array<std::byte, 17> block{};
        block[0] = static_cast<std::byte>(exponent);
        block[1] = std::byte{0x92};  // levels 2 and -1
        std::array<float, 32> values{};
        cpu::dequantise(DType::kMXFP4, block.data(), values.size(), values.data());
        EXPECT_EQ(values[0], static_cast<float>(std::ldexp(2.0, exponent - 128)));
        EXPECT_EQ(values[16], -std::ldexp(1.0, exponent - 128));
    }
}

}  // namespace
}  // namespace lfm
