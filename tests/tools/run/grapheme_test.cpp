// Grapheme clusters: characters as people see them.
#include "tools/run/grapheme.h"

#include <gtest/gtest.h>

namespace lfm::tools {
namespace {

TEST(Grapheme, JoinedCodePointsAreOne) {
    // An e with an accent; a family; a flag; a keycap; Hangul of three letters; a letter of Devanagari with its vowel.
    for (const std::wstring_view one :
         {L"a", L"e\u0301", L"\U0001F468\u200D\U0001F469\u200D\U0001F467", L"\U0001F1E9\U0001F1EA", L"1\uFE0F\u20E3",
          L"\u1112\u1161\u11AB", L"\u0915\u093F", L"\U0001F44D\U0001F3FD", L"\r\n"}) {
        EXPECT_EQ(cluster_before(one, one.size()), one.size());
        EXPECT_EQ(cluster_after(one, 0), one.size());
        const std::wstring line = L"x" + std::wstring(one) + L"y";
        EXPECT_EQ(cluster_before(line, 1 + one.size()), one.size());
        EXPECT_EQ(cluster_after(line, 1), one.size());
    }
    EXPECT_EQ(cluster_before(L"\U0001F1E9\U0001F1EA\U0001F1EB\U0001F1F7", 4), 2u) << "two flags";
}

TEST(Grapheme, AtTheEndsThereIsNone) {
    EXPECT_EQ(cluster_before(L"", 0), 0u);
    EXPECT_EQ(cluster_after(L"", 0), 0u);
    EXPECT_EQ(cluster_before(L"ab", 0), 0u);
    EXPECT_EQ(cluster_after(L"ab", 2), 0u);
}

TEST(Grapheme, WhatIsNoCharacterCountsAsOne) {
    const std::wstring odd{static_cast<wchar_t>(0xD800), static_cast<wchar_t>(0x7FFFFFFF), L'a'};
    EXPECT_EQ(cluster_after(odd, 0), 1u);
    EXPECT_EQ(cluster_after(odd, 1), 1u);
    EXPECT_EQ(cluster_before(odd, 3), 1u);
}

}  // namespace
}  // namespace lfm::tools
