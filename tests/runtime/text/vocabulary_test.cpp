// Damaged and foreign tokenizers: each refused with a message that names the key.
#include "runtime/text/vocabulary.h"

#include <functional>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "tests/runtime/small_vocabulary.h"

namespace lfm::test {
namespace {

struct BadCase {
    std::string name;
    std::string key;  // part of the message
    std::function<void(SmallVocabulary&)> damage;
    ErrorCode code = ErrorCode::kInvalidModel;
};

void expect_refused(const std::vector<std::byte>& bytes, const BadCase& expected) {
    try {
        Tokenizer::from_gguf(GgufFile::parse(bytes, "bad.gguf"));
        ADD_FAILURE() << expected.name << ": accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), expected.code) << expected.name;
        EXPECT_NE(error.where().find(expected.key), std::string::npos) << expected.name << ": " << error.what();
        EXPECT_TRUE(error.message().starts_with("expected ")) << expected.name << ": " << error.what();
        EXPECT_LT(error.message().size(), 200u) << expected.name;
    }
}

TEST(Vocabulary, DamagedOnesAreRefused) {
    const std::vector<BadCase> cases{
        {"no model", "tokenizer.ggml.model", [](auto& v) { v.model.reset(); }},
        {"other model", "tokenizer.ggml.model", [](auto& v) { v.model = "llama"; }, ErrorCode::kUnsupportedModel},
        {"model of control characters", "tokenizer.ggml.model", [](auto& v) { v.model = std::string(9999, '\x1b'); },
         ErrorCode::kUnsupportedModel},
        {"other pre", "tokenizer.ggml.pre", [](auto& v) { v.pre = "qwen2"; }, ErrorCode::kUnsupportedModel},
        {"no token", "tokenizer.ggml.tokens", [](auto& v) { v.tokens.clear(), v.types.clear(); }},
        {"one token", "tokenizer.ggml.tokens", [](auto& v) { v.tokens = {"a"}, v.types = {1}, v.bos = v.eos = 0; }},
        {"empty token", "tokenizer.ggml.tokens", [](auto& v) { v.tokens[7].clear(); }},
        {"empty control token", "tokenizer.ggml.tokens", [](auto& v) { v.tokens[2].clear(); }},
        {"long control token", "tokenizer.ggml.tokens", [](auto& v) { v.tokens[2] = std::string(5000, 'x'); }},
        {"a type too few", "tokenizer.ggml.token_type", [](auto& v) { v.types.pop_back(); }},
        {"a type too many", "tokenizer.ggml.token_type", [](auto& v) { v.types.push_back(1); }},
        {"no types", "tokenizer.ggml.token_type", [](auto& v) { v.types.clear(); }},
        {"type 7", "tokenizer.ggml.token_type", [](auto& v) { v.types[9] = 7; }},
        {"type -1", "tokenizer.ggml.token_type", [](auto& v) { v.types[9] = -1; }},
        {"bos = n_vocab", "tokenizer.ggml.bos_token_id", [](auto& v) { v.bos = v.tokens.size(); }},
        {"bos -1", "tokenizer.ggml.bos_token_id", [](auto& v) { v.bos = 0xFFFFFFFF; }},
        {"eos = n_vocab", "tokenizer.ggml.eos_token_id", [](auto& v) { v.eos = v.tokens.size(); }},
        {"eos 2^31", "tokenizer.ggml.eos_token_id", [](auto& v) { v.eos = 1u << 31; }},
        {"merge without space", "tokenizer.ggml.merges", [](auto& v) { v.merges = {"ab"}; }},
        {"merge with two spaces", "tokenizer.ggml.merges", [](auto& v) { v.merges = {"a  b"}; }},
        {"merge of three", "tokenizer.ggml.merges", [](auto& v) { v.merges = {"a b c"}; }},
        {"merge without left", "tokenizer.ggml.merges", [](auto& v) { v.merges = {" b"}; }},
        {"merge without right", "tokenizer.ggml.merges", [](auto& v) { v.merges = {"a "}; }},
        {"empty merge", "tokenizer.ggml.merges", [](auto& v) { v.merges = {""}; }},
        {"unknown left", "tokenizer.ggml.merges", [](auto& v) { v.add_token("aab"), v.merges = {"aa b"}; }},
        {"unknown right", "tokenizer.ggml.merges", [](auto& v) { v.add_token("abb"), v.merges = {"a bb"}; }},
        {"unknown result", "tokenizer.ggml.merges", [](auto& v) { v.merges = {"a b"}; }},
    };
    for (const BadCase& bad : cases) {
        SmallVocabulary vocabulary;
        bad.damage(vocabulary);
        expect_refused(vocabulary.build(), bad);
    }
}

TEST(Vocabulary, KeysOfOtherTypesAreRefused) {
    const auto base = [] { return GgufBuilder().add_string("tokenizer.ggml.model", "gpt2"); };
    const std::vector<std::string> tokens{"a", "b"};
    const auto with_tokens = [&] { return base().add_string_array("tokenizer.ggml.tokens", tokens); };
    const std::vector<float> floats{1, 1};
    const auto refused = [](const GgufBuilder& file, std::string key) {
        expect_refused(file.build(), {key, key, nullptr});
    };
    refused(GgufBuilder().add_u32("tokenizer.ggml.model", 1), "tokenizer.ggml.model");
    refused(base(), "tokenizer.ggml.tokens");
    refused(base().add_u32("tokenizer.ggml.pre", 1), "tokenizer.ggml.pre");
    refused(base().add_string("tokenizer.ggml.tokens", "a"), "tokenizer.ggml.tokens");
    refused(base().add_f32_array("tokenizer.ggml.tokens", floats), "tokenizer.ggml.tokens");
    refused(with_tokens().add_f32_array("tokenizer.ggml.token_type", floats), "tokenizer.ggml.token_type");
    refused(with_tokens().add_u32("tokenizer.ggml.token_type", 1), "tokenizer.ggml.token_type");
    refused(with_tokens().add_f32_array("tokenizer.ggml.merges", floats), "tokenizer.ggml.merges");
    refused(with_tokens().add_string("tokenizer.ggml.merges", "a b"), "tokenizer.ggml.merges");
    refused(with_tokens().add_i32("tokenizer.ggml.bos_token_id", -1), "tokenizer.ggml.bos_token_id");
    refused(with_tokens().add_string("tokenizer.ggml.eos_token_id", "b"), "tokenizer.ggml.eos_token_id");
    refused(with_tokens().add_u32("tokenizer.ggml.add_bos_token", 1), "tokenizer.ggml.add_bos_token");
    refused(with_tokens().add_u32("tokenizer.chat_template", 1), "tokenizer.chat_template");
}

TEST(Vocabulary, HugeCountsAreRefusedBeforeTheyAreDecoded) {
    constexpr std::uint64_t kCount = 1 << 20;
    const std::vector<std::byte> empty_strings(kCount * 8);
    const auto base = [] { return GgufBuilder().add_string("tokenizer.ggml.model", "gpt2"); };
    const std::vector<std::string> tokens{"a", "b"};
    const auto many = [&](GgufBuilder file, std::string key) {
        file.add_raw_array(key, {GgufType::kString, kCount}, empty_strings);
        expect_refused(file.build(), {key, key, nullptr});
    };
    many(base(), "tokenizer.ggml.tokens");
    many(base().add_string_array("tokenizer.ggml.tokens", tokens), "tokenizer.ggml.merges");
}

TEST(Vocabulary, OptionalKeysMayBeAbsent) {
    SmallVocabulary without_pre;
    without_pre.pre.reset();
    EXPECT_NO_THROW(without_pre.load());

    const std::vector<std::string> tokens{"a", "b"};
    const auto bytes = GgufBuilder()
                           .add_string("tokenizer.ggml.model", "gpt2")
                           .add_string_array("tokenizer.ggml.tokens", tokens)
                           .build();
    const auto vocabulary = Vocabulary::from_gguf(GgufFile::parse(bytes, "bare.gguf"));
    EXPECT_EQ(vocabulary.type(1), TokenType::kNormal);
    EXPECT_FALSE(vocabulary.bos() || vocabulary.eos() || vocabulary.add_bos());
    EXPECT_EQ(vocabulary.chat_template(), "");
}

TEST(Vocabulary, BosIsAddedUnlessTheFileSaysOtherwise) {
    SmallVocabulary vocabulary;
    vocabulary.add_bos = false;
    EXPECT_FALSE(vocabulary.load().add_bos());
    vocabulary.add_bos.reset();
    EXPECT_TRUE(vocabulary.load().add_bos());
    vocabulary.bos.reset();
    EXPECT_FALSE(vocabulary.load().add_bos());
}

TEST(Vocabulary, OfEqualTokensTheFirstIsFound) {
    SmallVocabulary vocabulary;
    const auto control = vocabulary.add_token("twice", TokenType::kControl);
    const auto first = vocabulary.add_token("twice");
    vocabulary.add_token("twice", TokenType::kUnused);
    const Tokenizer tokenizer = vocabulary.load();
    EXPECT_EQ(tokenizer.find("twice"), first);  // not the control token: ordinary text must not give it
    EXPECT_EQ(tokenizer.encode("twice", SpecialTokens::kAsText), std::vector{first});
    EXPECT_EQ(tokenizer.encode("twice", SpecialTokens::kAsTokens), std::vector{control});
}

TEST(Vocabulary, TokensOutsideTheByteAlphabetKeepTheirText) {
    SmallVocabulary vocabulary;
    const auto raw = vocabulary.add_token("日本 \xFF");
    EXPECT_EQ(vocabulary.load().piece(raw), "日本 \xFF");
}

}  // namespace
}  // namespace lfm::test
