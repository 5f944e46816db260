// Parts of HTML reports: escaped text, numbers for people, ticks at round values.
#include "tools/html/text.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tools/html/axis.h"

namespace lfm::test {
namespace {

TEST(HtmlText, EscapedKeepsWhatIsFine) {
    EXPECT_EQ(tools::escaped("LFM2 – 24B, \n\tä€🙂"), "LFM2 – 24B, \n\tä€🙂");
    EXPECT_EQ(tools::escaped(std::string_view("a\0b\x7f\xc2\x85", 6)), "a\uFFFDb\uFFFD\uFFFD");
}

std::string labels(const std::vector<tools::Tick>& ticks) {
    std::string text;
    for (const tools::Tick& tick : ticks) text += (text.empty() ? "" : "|") + tick.label;
    return text;
}

TEST(HtmlAxis, RoundValues) {
    EXPECT_EQ(labels(tools::number_ticks(152)), "0|50|100|150");
    EXPECT_EQ(labels(tools::number_ticks(0.031)), "0|0.01|0.02|0.03");
    EXPECT_EQ(labels(tools::byte_ticks(0x1p30 * 8.2)), "0|2 GiB|4 GiB|6 GiB|8 GiB");
    EXPECT_EQ(labels(tools::byte_ticks(0x1p30 * 1.2)), "0|0.25 GiB|0.5 GiB|0.75 GiB|1 GiB");
    EXPECT_EQ(labels(tools::second_ticks(0.0091)), "0|2 ms|4 ms|6 ms|8 ms");
    EXPECT_EQ(labels(tools::second_ticks(30e-6)), "0|10 µs|20 µs|30 µs");
    EXPECT_EQ(labels(tools::doubling_ticks(1000, 9000)), "8192|4096|2048|1024");
    for (const double none : {0.0, -1.0, std::nan(""), HUGE_VAL, 1e-320})
        EXPECT_EQ(labels(tools::number_ticks(none)), "0");
}

TEST(HtmlText, Numbers) {
    EXPECT_EQ(tools::figures(79.64), "79.6");
    EXPECT_EQ(tools::figures(99.97), "100");
    EXPECT_EQ(tools::figures(0.618), "0.62");
    EXPECT_EQ(tools::percent(0.996), "99.6 %");
    EXPECT_EQ(tools::percent(1), "100 %");
    EXPECT_EQ(tools::percent(0.0003), "under 0.1 %");
    EXPECT_EQ(tools::percent(0), "0 %");
    EXPECT_EQ(tools::count(8192), "8192");
    EXPECT_EQ(tools::count(131072), "131\u202F072");
    EXPECT_EQ(tools::coordinate(-0.001), "0");
    EXPECT_EQ(tools::duration(0.0126), "12.6 ms");
}

}  // namespace
}  // namespace lfm::test
