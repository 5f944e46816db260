#include "runtime/text/utf8_stream.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "tests/runtime/random_split.h"

namespace lfm {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

std::string encode(std::uint32_t code) {
    const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
    if (code < 0x80) return {byte(code)};
    if (code < 0x800) return {byte(0xC0 | code >> 6), byte(0x80 | (code & 63))};
    if (code < 0x10000) return {byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63))};
    return {byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 63)), byte(0x80 | (code >> 6 & 63)),
            byte(0x80 | (code & 63))};
}

/// All characters and all beginnings of characters, by enumeration: no table to share a mistake with.
struct Characters {
    std::set<std::string> whole, beginnings;
    Characters() {
        for (std::uint32_t code = 0; code < 0x110000; ++code) {
            if (code >= 0xD800 && code < 0xE000) continue;
            const std::string character = encode(code);
            whole.insert(character);
            for (std::size_t n = 1; n < character.size(); ++n) beginnings.insert(character.substr(0, n));
        }
    }
};

std::string reference(std::string_view bytes, const Characters& characters) {
    std::string text;
    while (!bytes.empty()) {
        std::size_t length = 1;
        while (length < bytes.size() && characters.beginnings.contains(std::string(bytes.substr(0, length)))) ++length;
        const std::string piece(bytes.substr(0, length));
        if (characters.whole.contains(piece)) {
            text += piece;
        } else {
            text += kBad;
            // The byte that broke the sequence begins the next one.
            if (length > 1 && !characters.beginnings.contains(piece)) --length;
        }
        bytes.remove_prefix(length);
    }
    return text;
}

std::string whole_text(std::string_view bytes) {
    Utf8Stream stream;
    std::string text = stream.push(bytes);
    return text + stream.finish();
}

TEST(Utf8Stream, HoldsHalfACharacterBack) {
    Utf8Stream stream;
    EXPECT_EQ(stream.push("a\xC3"), "a");
    EXPECT_EQ(stream.push("\xBC"
                          "b"),
              "\xC3\xBC"
              "b");
    EXPECT_EQ(stream.push("\xF0"), "");
    EXPECT_EQ(stream.push("\x9F\x98"), "");
    EXPECT_EQ(stream.push("\x80"), "\xF0\x9F\x98\x80");
    EXPECT_EQ(stream.finish(), "");
    EXPECT_EQ(stream.push("\xE2\x82"), "");
    EXPECT_EQ(stream.finish(), kBad);
    EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, ReplacesMaximalSubparts) {
    // The Unicode standard's own example (chapter 3, table 3-8).
    EXPECT_EQ(whole_text("a\xF1\x80\x80\xE1\x80\xC2"
                         "b\x80"
                         "c\x80\xBF"
                         "d"),
              "a" + kBad + kBad + kBad + "b" + kBad + "c" + kBad + kBad + "d");
    EXPECT_EQ(whole_text("\xED\xA0\x80"), kBad + kBad + kBad) << "surrogate";
    EXPECT_EQ(whole_text("\xC0\xAF"), kBad + kBad) << "overlong";
    EXPECT_EQ(whole_text("\xF4\x90\x80\x80"), kBad + kBad + kBad + kBad) << "above U+10FFFF";
}

TEST(Utf8Stream, EveryCharacterPassesByteByByte) {
    Utf8Stream stream;
    for (std::uint32_t code = 0; code < 0x110000; ++code) {
        if (code >= 0xD800 && code < 0xE000) continue;
        const std::string character = encode(code);
        for (std::size_t i = 0; i + 1 < character.size(); ++i) ASSERT_EQ(stream.push(character.substr(i, 1)), "");
        ASSERT_EQ(stream.push(character.substr(character.size() - 1)), character) << code;
    }
}

TEST(Utf8Stream, RandomBytesInRandomPiecesGiveTheReferenceText) {
    static constexpr unsigned char kAlphabet[] = {'a',  'b',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                                  0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED,
                                                  0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF, 0x00};
    const Characters characters;
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes(random() % 24, '\0');
        for (char& byte : bytes) byte = static_cast<char>(kAlphabet[random() % std::size(kAlphabet)]);
        const std::string expected = reference(bytes, characters);
        Utf8Stream stream;
        std::string text;
        for (const std::string_view piece : test::random_split(bytes, 4, random)) {
            text += stream.push(piece);
            ASSERT_TRUE(expected.starts_with(text)) << "something was shown too early";
        }
        text += stream.finish();
        ASSERT_EQ(text, expected);
        ASSERT_EQ(whole_text(bytes), expected);
    }
}

}  // namespace
}  // namespace lfm
