#include "memory/half.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace lfm {
namespace {

constexpr std::uint16_t kInfinity = 0x7c00;

/// The value of an f16 bit pattern by the definition of IEEE 754, in f64, which holds each exactly. No NaN.
double value_of(std::uint16_t half) {
    const int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    const double magnitude = exponent == 31  ? std::numeric_limits<double>::infinity()
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/// The nearest f16 by search among all of them; of two equally near ones, the even one.
std::uint16_t nearest(float number) {
    static const std::vector<double> values = [] {
        std::vector<double> all;
        for (std::uint16_t half = 0; half < kInfinity; ++half) all.push_back(value_of(half));
        all.push_back(65536);  // where the next one would be: from half-way on, infinity
        return all;
    }();
    const double magnitude = std::fabs(static_cast<double>(number));
    const std::uint16_t sign = std::signbit(number) ? 0x8000 : 0;
    if (magnitude >= 65536) return sign | kInfinity;
    const auto above = std::ranges::lower_bound(values, magnitude);
    auto index = static_cast<std::uint16_t>(above - values.begin());
    if (*above != magnitude) {
        const double middle = (above[-1] + *above) / 2;
        if (magnitude < middle || (magnitude == middle && index % 2 != 0)) --index;
    }
    return sign | index;
}

TEST(Half, EveryF16HasItsValueAndComesBack) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = f16_to_f32(half);
        if ((half & 0x7fff) > kInfinity) {
            ASSERT_TRUE(std::isnan(value)) << bits;
            ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << bits;
            ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value)))) << bits;
            continue;
        }
        ASSERT_EQ(static_cast<double>(value), value_of(half)) << bits;
        ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << bits;
        ASSERT_EQ(f32_to_f16(value), half) << bits;
    }
}

TEST(Half, RoundsToTheNearestAroundEveryF16) {
    for (std::uint16_t half = 0; half < kInfinity; ++half) {
        const float low = f16_to_f32(half);
        const float high = half + 1 == kInfinity ? 65536.0f : f16_to_f32(half + 1);
        const float middle = low + (high - low) / 2;  // exact in f32
        for (const float at : {low, middle, high})
            for (const float number : {std::nextafter(at, -1e38f), at, std::nextafter(at, 1e38f)}) {
                ASSERT_EQ(f32_to_f16(number), nearest(number)) << number;
                ASSERT_EQ(f32_to_f16(-number), nearest(-number)) << -number;
            }
    }
}

TEST(Half, RoundsRandomBitPatterns) {
    std::mt19937 random(1);
    for (int i = 0; i < 1000000; ++i) {
        const float number = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
        if (std::isnan(number))
            ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(number))));
        else
            ASSERT_EQ(f32_to_f16(number), nearest(number)) << number;
    }
}

TEST(Half, HandlesTheEdges) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    EXPECT_EQ(f32_to_f16(0.0f), 0);
    EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
    EXPECT_EQ(f32_to_f16(kInf), kInfinity);
    EXPECT_EQ(f32_to_f16(-kInf), 0x8000 | kInfinity);
    EXPECT_EQ(f32_to_f16(65504), 0x7bff);                           // the largest
    EXPECT_EQ(f32_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7bff);  // just below half-way
    EXPECT_EQ(f32_to_f16(65520), kInfinity);                        // half-way rounds to even
    EXPECT_EQ(f32_to_f16(0x1p-24f), 1);                             // the smallest
    EXPECT_EQ(f32_to_f16(0x1p-25f), 0);                             // half of it rounds to even
    EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 1);
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0);
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), kInfinity);
    EXPECT_TRUE(
        std::isnan(f16_to_f32(f32_to_f16(std::bit_cast<float>(0x7f800001u)))));  // the smallest payload stays a NaN
}

TEST(Half, EveryBf16IsTheUpperHalfOfAnF32) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(bf16_to_f32(static_cast<std::uint16_t>(bits))), bits << 16);
}

TEST(Half, EveryE8m0IsHalfItsPowerOfTwo) {
    for (int e = 0; e < 256; ++e)
        ASSERT_EQ(e8m0_to_f32_half(static_cast<std::uint8_t>(e)), std::ldexp(1.0f, e - 128)) << e;
}

}  // namespace
}  // namespace lfm
