// 451 texts of a real 50 000-token vocabulary, and round trips over it.
#include <fstream>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/text/tokenizer.h"
#include "tests/golden.h"

namespace lfm::test {
namespace {

class TokenizerGolden : public testing::Test {
protected:
    void SetUp() override {
        const auto golden = golden_dir();
        if (!golden) GTEST_SKIP() << "no golden data: set LFM_GOLDEN to the folder that holds tokenizer/cases.json";
        std::ifstream(*golden / "tokenizer" / "cases.json") >> cases_;
        tokenizer_ = Tokenizer::from_gguf(GgufFile::open(*golden / "tokenizer" / "vocab-50k.gguf"));
    }

    void check(const nlohmann::json& cases, SpecialTokens parse) const {
        ASSERT_FALSE(cases.empty());
        for (const auto& item : cases) {
            const auto text = item.at("text").get<std::string>();
            const auto expected = item.at("ids").get<std::vector<std::int32_t>>();
            EXPECT_EQ(tokenizer_->encode(text, parse), expected) << text;
            EXPECT_EQ(tokenizer_->decode(expected), text);
        }
    }

    nlohmann::json cases_;
    std::optional<Tokenizer> tokenizer_;
};

std::string random_unicode(std::mt19937& random, std::size_t n_characters) {
    // Ends of ranges that make each length of UTF-8 and most scripts likely.
    constexpr char32_t kEnds[] = {0x7F, 0x7F, 0x7FF, 0x3000, 0xFFFF, 0x1FFFF, 0x10FFFF};
    std::string text;
    while (n_characters-- > 0) {
        char32_t c = random() % (kEnds[random() % std::size(kEnds)] + 1);
        if (c >= 0xD800 && c < 0xE000) c = ' ';
        const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
        if (c < 0x80) {
            put(c);
        } else if (c < 0x800) {
            put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
        } else if (c < 0x10000) {
            put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
        } else {
            put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
        }
    }
    return text;
}

TEST_F(TokenizerGolden, PlainTexts) { check(cases_.at("plain"), SpecialTokens::kAsText); }

TEST_F(TokenizerGolden, TextsWithControlTokens) { check(cases_.at("parse_special"), SpecialTokens::kAsTokens); }

TEST_F(TokenizerGolden, RandomUnicodeComesBack) {
    std::mt19937 random(1);
    for (int i = 0; i < 2000; ++i) {
        const std::string text = random_unicode(random, random() % 200);
        EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text, SpecialTokens::kAsText)), text) << "case " << i;
    }
}

TEST_F(TokenizerGolden, RandomBytesComeBack) {
    std::mt19937 random(2);
    for (int i = 0; i < 2000; ++i) {
        std::string text(random() % 200, '\0');
        // Half of the texts damaged rather than random: mostly characters, some bytes changed.
        if (i % 2 == 0) text = random_unicode(random, 1 + random() % 60);
        for (char& byte : text)
            if (i % 2 == 1 || random() % 10 == 0) byte = static_cast<char>(random());
        EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text, SpecialTokens::kAsText)), text) << "case " << i;
    }
}

TEST_F(TokenizerGolden, EveryPieceIsFound) {
    for (std::int32_t id = 0; id < tokenizer_->n_vocab(); ++id) {
        const auto found = tokenizer_->find(tokenizer_->piece(id));
        ASSERT_TRUE(found);
        EXPECT_EQ(tokenizer_->piece(*found), tokenizer_->piece(id));
    }
}

}  // namespace
}  // namespace lfm::test
