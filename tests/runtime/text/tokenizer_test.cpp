// Special tokens, pieces and ids over small vocabularies, and texts that are hard to encode fast.
#include "runtime/text/tokenizer.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "tests/runtime/small_vocabulary.h"

namespace lfm::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// The byte tokens of `text` in the small vocabulary.
Ids bytes_of(std::string_view text) {
    Ids ids;
    for (const char byte : text) ids.push_back(SmallVocabulary::kFirstByte + static_cast<unsigned char>(byte));
    return ids;
}

TEST(Tokenizer, ControlTokensAreTextUnlessAskedFor) {
    const Tokenizer tokenizer = SmallVocabulary().load();
    EXPECT_EQ(tokenizer.encode("<|im_end|>", SpecialTokens::kAsTokens), Ids{3});
    EXPECT_EQ(tokenizer.encode("<|im_end|>", SpecialTokens::kAsText), bytes_of("<|im_end|>"));
    EXPECT_EQ(tokenizer.encode("", SpecialTokens::kAsTokens), Ids{});
}

TEST(Tokenizer, AControlTokenThatIsAWordIsNeverText) {
    SmallVocabulary vocabulary;
    const auto stop = vocabulary.add_token("stop", TokenType::kControl);
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.encode("stop", SpecialTokens::kAsText), bytes_of("stop"));
    EXPECT_EQ(tokenizer.encode("stop", SpecialTokens::kAsTokens), Ids{stop});
}

TEST(Tokenizer, UserDefinedTokensAreTokensEitherWay) {
    SmallVocabulary vocabulary;
    const auto tag = vocabulary.add_token("<b>", TokenType::kUserDefined);
    const Tokenizer tokenizer = vocabulary.load();
    for (const auto parse : {SpecialTokens::kAsText, SpecialTokens::kAsTokens})
        EXPECT_EQ(tokenizer.encode("a<b>", parse), (Ids{bytes_of("a")[0], tag}));
    EXPECT_EQ(tokenizer.piece(tag, ControlPieces::kHidden), "<b>");
}

TEST(Tokenizer, TheLongestSpecialTokenAtTheEarliestPlaceWins) {
    SmallVocabulary vocabulary;
    const auto abc = vocabulary.add_token("abc", TokenType::kControl);
    const auto ab = vocabulary.add_token("ab", TokenType::kUserDefined);
    const auto bcdef = vocabulary.add_token("bcdef", TokenType::kControl);
    const Tokenizer tokenizer = vocabulary.load();
    const auto encode = [&](std::string_view text) { return tokenizer.encode(text, SpecialTokens::kAsTokens); };
    EXPECT_EQ(encode("abcdef"), (Ids{abc, bytes_of("d")[0], bytes_of("e")[0], bytes_of("f")[0]}));
    EXPECT_EQ(encode("abbcdef"), (Ids{ab, bcdef}));
    EXPECT_EQ(encode("ab"), Ids{ab});
    EXPECT_EQ(encode("bcde"), bytes_of("bcde"));
    EXPECT_EQ(tokenizer.encode("abc", SpecialTokens::kAsText), (Ids{ab, bytes_of("c")[0]}));
}

TEST(Tokenizer, OfEqualSpecialTokensTheFirstUserDefinedOneWins) {
    SmallVocabulary vocabulary;
    const auto control = vocabulary.add_token("<a>", TokenType::kControl);
    vocabulary.add_token("<a>", TokenType::kControl);
    EXPECT_EQ(vocabulary.load().encode("<a>", SpecialTokens::kAsTokens), Ids{control});
    const auto user_defined = vocabulary.add_token("<a>", TokenType::kUserDefined);
    vocabulary.add_token("<a>", TokenType::kUserDefined);
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.encode("<a>", SpecialTokens::kAsTokens), Ids{user_defined});
    EXPECT_EQ(tokenizer.encode("<a>", SpecialTokens::kAsText), Ids{user_defined});
}

TEST(Tokenizer, TextIsSplitAtSpecialTokensBeforeItIsMerged) {
    SmallVocabulary vocabulary;
    vocabulary.add_merge("a", "b");
    vocabulary.add_token("|", TokenType::kUserDefined);
    const Tokenizer tokenizer = vocabulary.load();
    const auto ab = *tokenizer.find("ab");
    const auto bar = static_cast<std::int32_t>(tokenizer.n_vocab() - 1);
    EXPECT_EQ(tokenizer.encode("ab|ab", SpecialTokens::kAsText), (Ids{ab, bar, ab}));
}

TEST(Tokenizer, PiecesAndIds) {
    SmallVocabulary vocabulary;
    vocabulary.chat_template = "{{ messages }}";
    vocabulary.eos = 2;
    const auto the = vocabulary.add_token(spell(" thé"));
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.piece(the), " thé");
    EXPECT_EQ(tokenizer.find(" thé"), the);
    EXPECT_EQ(tokenizer.find("absent"), std::nullopt);
    EXPECT_EQ(tokenizer.piece(3), "<|im_end|>");
    EXPECT_EQ(tokenizer.piece(3, ControlPieces::kHidden), "");
    EXPECT_EQ(tokenizer.decode(Ids{2, the, 3}, ControlPieces::kHidden), " thé");
    EXPECT_TRUE(tokenizer.is_end(1) && tokenizer.is_end(2) && tokenizer.is_end(3));
    EXPECT_FALSE(tokenizer.is_end(0) || tokenizer.is_end(the));
    EXPECT_TRUE(tokenizer.is_control(0) && !tokenizer.is_control(the));
    EXPECT_EQ(tokenizer.bos(), 0);
    EXPECT_EQ(tokenizer.eos(), 2);
    EXPECT_TRUE(tokenizer.add_bos());
    EXPECT_EQ(tokenizer.chat_template(), "{{ messages }}");
    EXPECT_EQ(tokenizer.n_vocab(), the + 1);
    for (const std::int32_t id : {-1, the + 1, INT32_MIN, INT32_MAX}) {
        EXPECT_THROW(tokenizer.piece(id), Error);
        EXPECT_THROW(tokenizer.is_end(id), Error);
        EXPECT_THROW(tokenizer.is_control(id), Error);
    }
}

TEST(Tokenizer, AByteWithoutATokenIsATypedError) {
    SmallVocabulary vocabulary;
    vocabulary.tokens[SmallVocabulary::kFirstByte + 'q'] = "something else";
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.encode("x", SpecialTokens::kAsText), bytes_of("x"));
    try {
        tokenizer.encode("xq", SpecialTokens::kAsText);
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput);
        EXPECT_NE(error.message().find("113"), std::string::npos) << error.what();
    }
}

std::string repeated(std::string_view unit, std::size_t n_bytes) {
    std::string text;
    while (text.size() < n_bytes) text += unit;
    return text;
}

/// Quadratic time would take hours, recursion per character would overflow the stack.
TEST(Tokenizer, LongTextsTakeLittleTime) {
    SmallVocabulary vocabulary;
    for (std::string unit : {"a", " ", "!"})
        for (int doublings = 0; doublings < 6; ++doublings, unit += unit) vocabulary.add_merge(unit, unit);
    const Tokenizer tokenizer = vocabulary.load();
    constexpr std::size_t kMiB = 1 << 20;
    const std::string texts[] = {
        repeated("a", kMiB),
        repeated(" ", kMiB),
        repeated("!", kMiB),
        repeated("1", kMiB),
        repeated("ab !\n 12 ", kMiB),
        repeated("\xFF", kMiB),
        repeated("a\xFF", kMiB),
        repeated("'s", kMiB),
        repeated("<|im_end|", kMiB),
        repeated("<", kMiB),
        repeated("<|im_end|>", kMiB),
        // What the regex repeats, without merges.
        repeated("\t", 2 * kMiB),
        repeated("\t\n", 2 * kMiB),
        repeated("\t", 2 * kMiB) + "x",
        repeated("é", 2 * kMiB),
        repeated("\u3000", 2 * kMiB),
        repeated("¿", 2 * kMiB),
    };
    for (const std::string& text : texts) {
        const auto begin = std::chrono::steady_clock::now();
        const Ids ids = tokenizer.encode(text, SpecialTokens::kAsTokens);
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
        EXPECT_EQ(tokenizer.decode(ids), text);
        // Some tenths of a second in fact; the rest is for sanitizers and busy machines.
        EXPECT_LT(time.count(), 20) << text.size() << " bytes of " << text.substr(0, 10);
    }
}

TEST(Tokenizer, ThreadsMayShareIt) {
    SmallVocabulary vocabulary;
    vocabulary.add_merge("a", "b");
    const Tokenizer tokenizer = vocabulary.load();
    const std::string text = repeated("ab abab <|im_end|> \xFF", 20000);
    const Ids expected = tokenizer.encode(text, SpecialTokens::kAsTokens);
    std::vector<Ids> found(4);
    {
        std::vector<std::jthread> threads;
        for (Ids& ids : found) threads.emplace_back([&] { ids = tokenizer.encode(text, SpecialTokens::kAsTokens); });
    }
    for (const Ids& ids : found) EXPECT_EQ(ids, expected);
}

}  // namespace
}  // namespace lfm::test
