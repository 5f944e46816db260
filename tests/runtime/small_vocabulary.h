// A small byte-level vocabulary built in memory, sound unless a test breaks it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/byte_level.h"
#include "runtime/text/tokenizer.h"
#include "tests/gguf_builder.h"

namespace lfm::test {

/// The byte-level spelling of bytes: the inverse of append_byte_level.
inline std::string spell(std::string_view bytes) {
    static const std::array<std::string, 256> alphabet = [] {
        std::array<std::string, 256> spelled;
        for (unsigned code_point = 0x21; code_point < 0x144; ++code_point) {
            std::string character;
            if (code_point < 0x80) {
                character = static_cast<char>(code_point);
            } else {
                character = static_cast<char>(0xC0 | code_point >> 6);
                character += static_cast<char>(0x80 | (code_point & 0x3F));
            }
            std::string byte;
            append_byte_level(character, byte);
            if (byte.size() == 1) spelled[static_cast<unsigned char>(byte[0])] = character;
        }
        return spelled;
    }();
    std::string text;
    for (const char byte : bytes) text += alphabet[static_cast<unsigned char>(byte)];
    return text;
}

/// Ids: 0 <|startoftext|>, 1 <|endoftext|>, 2 <|im_start|>, 3 <|im_end|>, 4 + byte, then what tests add.
struct SmallVocabulary {
    std::optional<std::string> model = "gpt2";
    std::optional<std::string> pre = "lfm2";
    std::vector<std::string> tokens{"<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    std::vector<std::int32_t> types{3, 3, 3, 3};
    std::vector<std::string> merges;
    std::optional<std::uint32_t> bos = 0;
    std::optional<std::uint32_t> eos = 3;
    std::optional<bool> add_bos = true;
    std::optional<std::string> chat_template;

    static constexpr std::int32_t kFirstByte = 4;

    SmallVocabulary() {
        for (int byte = 0; byte < 256; ++byte) {
            const char text = static_cast<char>(byte);
            add_token(spell({&text, 1}));
        }
    }
    /// As spelled in the file. Gives the id.
    std::int32_t add_token(std::string spelled, TokenType type = TokenType::kNormal) {
        tokens.push_back(std::move(spelled));
        types.push_back(static_cast<std::int32_t>(type));
        return static_cast<std::int32_t>(tokens.size()) - 1;
    }
    /// Both sides as bytes; adds the resulting token. Gives its id.
    std::int32_t add_merge(std::string_view left, std::string_view right) {
        merges.push_back(spell(left) + " " + spell(right));
        return add_token(spell(left) + spell(right));
    }

    std::vector<std::byte> build() const {
        GgufBuilder file;
        if (model) file.add_string("tokenizer.ggml.model", *model);
        if (pre) file.add_string("tokenizer.ggml.pre", *pre);
        file.add_string_array("tokenizer.ggml.tokens", tokens);
        file.add_i32_array("tokenizer.ggml.token_type", types);
        file.add_string_array("tokenizer.ggml.merges", merges);
        if (bos) file.add_u32("tokenizer.ggml.bos_token_id", *bos);
        if (eos) file.add_u32("tokenizer.ggml.eos_token_id", *eos);
        if (add_bos) file.add_bool("tokenizer.ggml.add_bos_token", *add_bos);
        if (chat_template) file.add_string("tokenizer.chat_template", *chat_template);
        return file.build();
    }
    /// The bytes are gone when it returns: a tokenizer owns what it needs.
    Tokenizer load() const {
        const std::vector<std::byte> bytes = build();
        return Tokenizer::from_gguf(GgufFile::parse(bytes, "small.gguf"));
    }
};

}  // namespace lfm::test
