#include "memory/checked.h"

#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace lfm {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

__extension__ using Wide = unsigned __int128;

/// `exact` where 64 bits hold it, otherwise nothing.
std::optional<std::uint64_t> fits(Wide exact) {
    return exact > kMost ? std::nullopt : std::optional(static_cast<std::uint64_t>(exact));
}

TEST(CheckedU64, AgreesWith128BitArithmetic) {
    std::vector<std::uint64_t> numbers{0,     1,         2,         3,         10,           1000000007,
                                       kMost, kMost - 1, kMost / 2, kMost / 3, kMost / 3 + 1};
    for (int bit = 2; bit < 64; ++bit)
        for (const int step : {-1, 0, 1}) numbers.push_back((1ull << bit) + static_cast<std::uint64_t>(step));
    for (const std::uint64_t a : numbers)
        for (const std::uint64_t b : numbers) {
            EXPECT_EQ((CheckedU64{a} + b).value(), fits(Wide{a} + b)) << a << " + " << b;
            EXPECT_EQ((CheckedU64{a} * b).value(), fits(Wide{a} * b)) << a << " * " << b;
        }
}

TEST(CheckedU64, OverflowSticks) {
    const CheckedU64 over = CheckedU64{kMost} + 1;
    EXPECT_FALSE(over.value());
    for (const CheckedU64 later : {over + 1, over * 0, 1 + over, 0 * over, over.aligned(8), over}) {
        EXPECT_FALSE(later.value());
        EXPECT_FALSE(later.at_most(kMost));
    }
}

TEST(CheckedU64, RoundsUpToAnAlignment) {
    EXPECT_EQ(CheckedU64{0}.aligned(32).value(), 0u);
    EXPECT_EQ(CheckedU64{1}.aligned(32).value(), 32u);
    EXPECT_EQ(CheckedU64{32}.aligned(32).value(), 32u);
    EXPECT_EQ(CheckedU64{33}.aligned(32).value(), 64u);
    EXPECT_EQ(CheckedU64{7}.aligned(1).value(), 7u);
    EXPECT_EQ(CheckedU64{kMost - 31}.aligned(32).value(), kMost - 31);
    EXPECT_FALSE(CheckedU64{kMost - 30}.aligned(32).value());
    EXPECT_FALSE(CheckedU64{kMost}.aligned(2).value());
    EXPECT_EQ(CheckedU64{kMost}.aligned(1).value(), kMost);
}

TEST(CheckedU64, ComparesWithALimit) {
    EXPECT_TRUE(CheckedU64{5}.at_most(5));
    EXPECT_FALSE(CheckedU64{6}.at_most(5));
    EXPECT_TRUE(CheckedU64{kMost}.at_most(kMost));
}

static_assert((CheckedU64{6} * 7 + 1).value() == 43, "usable in constant expressions");

}  // namespace
}  // namespace lfm
