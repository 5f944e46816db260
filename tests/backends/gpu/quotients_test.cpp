// Quotients by a reciprocal are those of a division, to the bit: near the halves where rounding to a level turns, at
// both ends of the exponents, with mantissas of all zeros and all ones.
#include <bit>
#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include "backends/gpu/kernels/quantise_block.h"
#include "tests/backends/operation_cases/operands.h"

namespace lfm::gpu {
namespace {

using operation_cases::Noise;

float with(std::uint32_t exponent, std::uint32_t mantissa) {
    return std::bit_cast<float>(exponent << 23 | (mantissa & 0x7fffff));
}

TEST(GpuQuotients, AreThoseOfADivision) {
    Noise noise(1);
    std::uint64_t n = 0;
    for (std::uint32_t k = 0; k < 200000; ++k) {
        const std::uint32_t mantissa = k % 5 == 0   ? noise.below(4)
                                       : k % 5 == 1 ? 0x7fffffu - noise.below(4)
                                                    : noise.below(1u << 23);
        const std::uint32_t exponent = 1 + noise.below(253);
        const float largest = with(exponent, mantissa), scale = largest / 127.0f;
        if (scale < 0x1p-126f) continue;
        const Divider divide(scale);
        for (std::uint32_t i = 0; i < 4; ++i) {
            const float level = static_cast<float>(noise.below(255)) - 127.0f;
            float value = i == 0 ? level * scale : (level + 0.5f) * scale;
            if (i == 2) value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) + noise.below(7) - 3);
            if (i == 3) value = with(exponent > 20 ? exponent - noise.below(20) : exponent, noise.below(1u << 23));
            if (!(std::fabs(value) <= largest)) continue;
            ASSERT_EQ(std::bit_cast<std::uint32_t>(divide(value)), std::bit_cast<std::uint32_t>(value / scale))
                << value << " / " << scale;
            ++n;
        }
    }
    EXPECT_GT(n, 500000u);
}

}  // namespace
}  // namespace lfm::gpu
