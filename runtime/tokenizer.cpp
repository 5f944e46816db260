#include "runtime/tokenizer.h"

#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

// Positions are 32 bits; far beyond any context.
constexpr std::size_t kMaxTextBytes = (std::size_t{1} << 30) - 1;

}  // namespace

Tokenizer Tokenizer::from_gguf(const GgufFile& file) {
    Vocabulary vocabulary = Vocabulary::from_gguf(file);
    MergeTable merges = MergeTable::from_gguf(file, vocabulary);
    file.require_unchanged();
    return Tokenizer(std::move(vocabulary), std::move(merges));
}

Tokenizer::Tokenizer(Vocabulary vocabulary, MergeTable merges)
    : vocabulary_(std::move(vocabulary)), merges_(std::move(merges)), special_tokens_(vocabulary_) {}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, SpecialTokens parse) const {
    if (text.size() > kMaxTextBytes)
        throw Error(ErrorCode::kInvalidInput, "text",
                    "expected less than 1 GiB, found " + std::to_string(text.size()) + " bytes");
    std::vector<std::int32_t> ids;
    BpeEncoder encoder(vocabulary_, merges_);
    while (!text.empty()) {
        const auto special = special_tokens_.find(vocabulary_, text, parse);
        PreTokens pre_tokens(pre_tokenizer_, text.substr(0, special ? special->begin : text.size()));
        while (const auto pre_token = pre_tokens.next()) encoder.append(*pre_token, ids);
        if (!special) break;
        ids.push_back(special->id);
        text.remove_prefix(special->begin + vocabulary_.piece(special->id).size());
    }
    return ids;
}

std::string_view Tokenizer::piece(std::int32_t id, ControlPieces control) const {
    const std::string_view piece = vocabulary_.piece(id);
    return control == ControlPieces::kHidden && is_control(id) ? std::string_view() : piece;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, ControlPieces control) const {
    std::string text;
    for (const std::int32_t id : ids) text += piece(id, control);
    return text;
}

bool Tokenizer::is_end(std::int32_t id) const {
    const std::string_view text = vocabulary_.piece(id);
    return id == eos() || text == "<|im_end|>" || text == "<|endoftext|>";
}

}  // namespace lfm
