#include "runtime/text/think_filter.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/runtime/random_split.h"

namespace lfm {
namespace {

void append(std::vector<Segment>& all, const std::vector<Segment>& more) {
    for (const Segment& segment : more) {
        EXPECT_FALSE(segment.text.empty());
        if (!all.empty() && all.back().kind == segment.kind)
            all.back().text += segment.text;
        else
            all.push_back(segment);
    }
}

std::vector<Segment> filter_all(ThinkStart start, const std::vector<std::string_view>& pieces) {
    ThinkFilter filter(start);
    std::vector<Segment> segments;
    for (const std::string_view piece : pieces) append(segments, filter.push(piece));
    append(segments, filter.finish());
    return segments;
}

Segment visible(const char* text) { return {SegmentKind::kVisible, text}; }
Segment reasoning(const char* text) { return {SegmentKind::kReasoning, text}; }
using Segments = std::vector<Segment>;

TEST(ThinkFilter, SplitsByTags) {
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"a<think>b</think>\n\nc\n"}),
              (Segments{visible("a"), reasoning("b"), visible("c\n")}));
    EXPECT_EQ(filter_all(ThinkStart::kInside, {"b\n</think>\r\nc"}), (Segments{reasoning("b\n"), visible("c")}));
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"plain"}), (Segments{visible("plain")}));
    EXPECT_EQ(filter_all(ThinkStart::kInside, {"never closed"}), (Segments{reasoning("never closed")}));
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"<think></think>x<think>\ny</think>"}),
              (Segments{visible("x"), reasoning("\ny")}));
}

TEST(ThinkFilter, TagsMayBeSplit) {
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"a<th", "ink>b</", "think", ">", "\n", "\n", "c"}),
              (Segments{visible("a"), reasoning("b"), visible("c")}));
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"a <thin", "g> <thi"}), (Segments{visible("a <thing> <thi")}));
}

TEST(ThinkFilter, ShowsTextAsSoonAsItIsNoTag) {
    ThinkFilter filter(ThinkStart::kOutside);
    EXPECT_EQ(filter.push("a<t"), (Segments{visible("a")}));
    EXPECT_EQ(filter.push("x"), (Segments{visible("<tx")}));
    EXPECT_EQ(filter.finish(), Segments{});
}

TEST(ThinkFilter, TagsOfTheOtherKindAreText) {
    EXPECT_EQ(filter_all(ThinkStart::kOutside, {"a</think>b"}), (Segments{visible("a</think>b")}));
    EXPECT_EQ(filter_all(ThinkStart::kInside, {"a<think>b</think>c"}),
              (Segments{reasoning("a<think>b"), visible("c")}));
}

TEST(ThinkFilter, RandomPiecesGiveWhatTheWholeTextGives) {
    static constexpr std::string_view kParts[] = {"<think>", "</think>", "\n",  "x", "<",
                                                  "/think>", "<thi",     "</t", "yz"};
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (auto n = random() % 12; n > 0; --n) text += kParts[random() % std::size(kParts)];
        const ThinkStart start = random() % 2 ? ThinkStart::kInside : ThinkStart::kOutside;
        ASSERT_EQ(filter_all(start, test::random_split(text, 5, random)), filter_all(start, {text})) << text;
    }
}

}  // namespace
}  // namespace lfm
