// Our rules against the published regex, run as it stands.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/pre_tokenizer.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pcre2.h>

namespace lfm::test {
namespace {

using Parts = std::vector<std::string>;

constexpr std::string_view kPublished = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                                        R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Parts split(std::string_view text) {
    const PreTokenizer rules;
    PreTokens pre_tokens(rules, text);
    Parts parts;
    while (const auto part = pre_tokens.next()) parts.emplace_back(*part);
    return parts;
}

/// `text` must be UTF-8.
Parts split_as_published(std::string_view text) {
    int error = 0;
    PCRE2_SIZE position = 0;
    const std::unique_ptr<pcre2_code, Pcre2Free> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPublished.data()),
                                                                    kPublished.size(), PCRE2_UTF | PCRE2_UCP, &error,
                                                                    &position, nullptr));
    const std::unique_ptr<pcre2_match_data, Pcre2Free> match(pcre2_match_data_create(1, nullptr));
    Parts parts;
    for (std::size_t begin = 0; begin < text.size();) {
        const int found = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin, 0,
                                      match.get(), nullptr);
        const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
        if (found < 0 || bounds[0] != begin) return {"no match"};
        parts.emplace_back(text.substr(begin, bounds[1] - begin));
        begin = bounds[1];
    }
    return parts;
}

TEST(PreTokenizer, EqualsThePublishedRegex) {
    // Every kind of character the rules tell apart, most of them several times.
    const std::vector<std::string> alphabet{
        "a",  "b",   "S",   "é",  "日",   "ſ",  "\u0301", "1",      "2",      "½",      "٣",     "Ⅷ", " ",
        " ",  "  ",  "\n",  "\r", "\r\n", "\t", "\v",     "\f",     "\u00A0", "!",      ".",     "_", "'",
        "'s", "'LL", "'re", "’",  "🙂", " ",  "\u0085", "\u2003", "\u2028", "\u3000", "\u200B"};
    std::mt19937 random(4);
    for (int i = 0; i < 20000; ++i) {
        std::string text;
        for (std::uint32_t n = random() % 24; n > 0; --n) text += alphabet[random() % alphabet.size()];
        ASSERT_EQ(split(text), split_as_published(text)) << text;
    }
}

TEST(PreTokenizer, TheMongolianVowelSeparatorIsNoSpace) {
    EXPECT_EQ(split(" \u180E "), (Parts{" \u180E", " "}));  // as in Unicode's White_Space; PCRE2's \s takes all three
}

TEST(PreTokenizer, BytesThatAreNoUtf8AreSymbols) {
    EXPECT_EQ(split("a\xFFz"), (Parts{"a", "\xFFz"}));
    EXPECT_EQ(split("a \xFF\x80!b"), (Parts{"a", " \xFF\x80!", "b"}));
    EXPECT_EQ(split("\xC3"), Parts{"\xC3"});  // cut off at the end
    EXPECT_EQ(split("\xC3(é"), (Parts{"\xC3(", "é"}));
    EXPECT_EQ(split("\xED\xA0\x80 1"), (Parts{"\xED\xA0\x80", " ", "1"}));  // a surrogate
    EXPECT_EQ(split("\xF4\x90\x80\x80"), Parts{"\xF4\x90\x80\x80"});        // beyond U+10FFFF
    EXPECT_EQ(split("\xC0\x80\n"), Parts{"\xC0\x80\n"});                    // overlong
    EXPECT_EQ(split("\uFFFD\xFF é"), (Parts{"\uFFFD\xFF", " é"}));
}

TEST(PreTokenizer, PartsMakeTheText) {
    std::mt19937 random(5);
    for (int i = 0; i < 2000; ++i) {
        std::string text(random() % 60, '\0');
        for (char& byte : text) byte = static_cast<char>(random() % 3 == 0 ? random() : ' ' + random() % 96);
        std::string joined;
        for (const std::string& part : split(text)) {
            EXPECT_FALSE(part.empty());
            joined += part;
        }
        EXPECT_EQ(joined, text);
    }
}

TEST(PreTokenizer, NullBytesAreText) {
    const std::string text("a\0b\0", 4);
    EXPECT_EQ(split(text), (Parts{"a", std::string("\0b", 2), std::string("\0", 1)}));
}

}  // namespace
}  // namespace lfm::test
