#include "memory/units.h"

#include <string>

#include <gtest/gtest.h>

namespace lfm {
namespace {

constexpr std::uint64_t kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024, kTiB = kGiB * 1024;

TEST(ParseBytes, ReadsEveryWayToWriteASize) {
    const struct {
        const char* text;
        std::uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"0.0", 0},
        {"123B", 123},
        {"512K", 512 * kKiB},
        {"512KB", 512 * kKiB},
        {"512KiB", 524288},
        {"16000MiB", 16000 * kMiB},
        {"16G", 16 * kGiB},
        {"16GiB", 16 * kGiB},
        {"16GB", 16 * kGiB},
        {"2T", 2 * kTiB},
        {"1.5GiB", 3 * kGiB / 2},
        {"0.5K", 512},
        {".5K", 512},
        {"1e3B", 1000},
        {"8gib", 8 * kGiB},
        {"8Gib", 8 * kGiB},
        {"8gb", 8 * kGiB},
        {"8g", 8 * kGiB},
        {"8Gi", 8 * kGiB},
        {"8 GiB", 8 * kGiB},
        {"512k", 512 * kKiB},
        {"100mib", 100 * kMiB},
        {"7b", 7},
        {"8388607T", 8388607 * kTiB},
    };
    for (const auto& [text, bytes] : cases) {
        const auto parsed = parse_bytes(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(parsed->value, bytes) << text;
    }
}

TEST(ParseBytes, RefusesWhatIsNoSize) {
    for (const char* text : {"",         " ",
                             "G",        "GiB",
                             "-1",       "-1G",
                             "+1G",      "1  G",
                             " 1",       "1G ",
                             "8",        "1.5",
                             "1i",       "123",
                             "1GiBB",    "1GG",
                             "1X",       "0x10G",
                             "1,5G",     "nan",
                             "inf",      "infinity",
                             "80%",      "1e400",
                             "8388608T", "99999999999999999999",
                             "1e30G"})
        EXPECT_FALSE(parse_bytes(text)) << text;
    EXPECT_FALSE(parse_bytes(std::string_view("1\0", 2)));
}

TEST(FormatBytes, ShowsThreeFigures) {
    EXPECT_EQ(format_bytes({0}), "0 B");
    EXPECT_EQ(format_bytes({999}), "999 B");
    EXPECT_EQ(format_bytes({1000}), "0.98 KiB");
    EXPECT_EQ(format_bytes({480 * kKiB}), "480 KiB");
    EXPECT_EQ(format_bytes({27 * kGiB / 2}), "13.5 GiB");
    EXPECT_EQ(format_bytes({kGiB}), "1.00 GiB");
    EXPECT_EQ(format_bytes({5000 * kTiB}), "5000 TiB");
    EXPECT_EQ(format_bytes({~std::uint64_t{0}}), "16777216 TiB");
}

TEST(FormatBytes, WholeSizesReadBack) {
    for (std::uint64_t value = 1; value < 1000; ++value)
        for (const char* unit : {"B", "K", "M", "G"}) {
            const auto size = parse_bytes(std::to_string(value) + unit);
            ASSERT_TRUE(size);
            std::string text = format_bytes(*size);
            text.erase(text.find(' '), 1);
            EXPECT_EQ(parse_bytes(text), size) << text;
        }
}

TEST(Bytes, AddsAndCompares) {
    Bytes sum{1};
    sum += Bytes{2};
    sum -= Bytes{1};
    EXPECT_EQ(sum, Bytes{2});
    EXPECT_EQ(Bytes{1} + Bytes{2}, Bytes{3});
    EXPECT_LT(Bytes{1}, Bytes{2});
    EXPECT_LT((ExpertId{{0}, 9}), (ExpertId{{1}, 0}));
}

}  // namespace
}  // namespace lfm
