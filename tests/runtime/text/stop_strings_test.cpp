#include "runtime/text/stop_strings.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "memory/error.h"
#include "tests/runtime/random_split.h"

namespace lfm {
namespace {

std::string random_text(std::size_t length, std::mt19937& random) {
    std::string text(length, '\0');
    for (char& c : text) c = "abc"[random() % 3];
    return text;
}

/// The definition: grow the text byte by byte; the first end at which a stop string is complete counts.
std::string text_before_stop(const std::string& text, const std::vector<std::string>& strings) {
    for (std::size_t end = 1; end <= text.size(); ++end) {
        std::size_t begin = end;
        for (const std::string& string : strings)
            if (std::string_view(text).substr(0, end).ends_with(string)) begin = std::min(begin, end - string.size());
        if (begin < end) return text.substr(0, begin);
    }
    return text;
}

TEST(StopStrings, HoldsBackWhatMayBecomeAStop) {
    StopStrings stops({"<end>", "\n\n"});
    EXPECT_EQ(stops.push("Hello <e").text, "Hello ");
    EXPECT_EQ(stops.push("m>\n").text, "<em>");
    const auto result = stops.push("\nmore");
    EXPECT_EQ(result.text, "");
    EXPECT_TRUE(result.stopped);
    EXPECT_TRUE(stops.push("ignored").stopped);
    EXPECT_EQ(stops.push("ignored").text, "");
    EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, FinishGivesTheHeldText) {
    StopStrings stops({"abc"});
    EXPECT_EQ(stops.push("xxab").text, "xx");
    EXPECT_EQ(stops.finish(), "ab");
    EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, TheMatchThatIsCompleteFirstWins) {
    EXPECT_EQ(StopStrings({"abcd", "bc"}).push("xabcd").text, "xa");
    EXPECT_EQ(StopStrings({"User", "\nUser"}).push("hi\nUser").text, "hi") << "the longer one on a tie";
}

TEST(StopStrings, WithoutStringsTextPassesAtOnce) {
    StopStrings stops({});
    const auto result = stops.push("anything");
    EXPECT_EQ(result.text, "anything");
    EXPECT_FALSE(result.stopped);
}

TEST(StopStrings, RefusesEmptyAndHugeStrings) {
    EXPECT_THROW(StopStrings({"a", ""}), Error);
    EXPECT_THROW(StopStrings({std::string(5000, 'a')}), Error);
}

TEST(StopStrings, RandomPiecesStopWhereTheWholeTextDoes) {
    std::mt19937 random(2);
    int n_stopped = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::string> strings(random() % 4);
        for (std::string& string : strings) string = random_text(1 + random() % 5, random);
        const std::string text = random_text(random() % 30, random);
        const std::string expected = text_before_stop(text, strings);
        StopStrings stops(strings);
        std::string shown;
        bool stopped = false;
        for (const std::string_view piece : test::random_split(text, 6, random)) {
            const auto result = stops.push(piece);
            shown += result.text;
            stopped = result.stopped;
            ASSERT_TRUE(expected.starts_with(shown)) << "shown too early";
        }
        shown += stops.finish();
        ASSERT_EQ(shown, expected) << text;
        ASSERT_EQ(stopped, expected != text);
        n_stopped += stopped;
    }
    EXPECT_GT(n_stopped, 5'000);
}

}  // namespace
}  // namespace lfm
