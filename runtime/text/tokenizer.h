// Text to token ids and back: LFM2's byte-level BPE.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "memory/gguf.h"
#include "runtime/text/bpe.h"
#include "runtime/text/marked_text.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/special_tokens.h"
#include "runtime/text/vocabulary.h"

namespace lfm {

/// Whether control tokens show when tokens are decoded to text.
enum class ControlPieces { kShown, kHidden };

/// Owns all it needs; the file may go away. Const calls may run on several threads at once.
class Tokenizer {
public:
    /// Throws kUnsupportedModel or kInvalidModel naming the key.
    static Tokenizer from_gguf(const GgufFile& file);

    /// Never adds a BOS. Any bytes are text: what is no UTF-8 counts as a symbol, and decode() gives it back.
    /// O(n log n). Throws kInvalidInput for a text of 1 GiB or more, or with a byte the vocabulary cannot spell.
    std::vector<std::int32_t> encode(std::string_view text, SpecialTokens parse) const;
    /// The same for a text with sources: control tokens are found in markup alone, tokens keep their ids. What lies
    /// between two tokens, markup and text together, is split as one text.
    std::vector<std::int32_t> encode(const MarkedText& text) const;

    /// The bytes of one token, which may be part of a character. The view lives as long as the tokenizer.
    /// Throws kInvalidInput when `id` is out of range.
    std::string_view piece(std::int32_t id, ControlPieces control = ControlPieces::kShown) const;
    std::string decode(std::span<const std::int32_t> ids, ControlPieces control = ControlPieces::kShown) const;

    /// The token that is exactly this text, as in find("<|im_end|>").
    std::optional<std::int32_t> find(std::string_view text) const { return vocabulary_.find(text); }

    /// Generation ends here: <|im_end|>, <|endoftext|> or the file's EOS.
    bool is_end(std::int32_t id) const;
    bool is_control(std::int32_t id) const { return vocabulary_.is_control(id); }

    std::int32_t n_vocab() const { return vocabulary_.n_vocab(); }
    std::optional<std::int32_t> bos() const { return vocabulary_.bos(); }
    std::optional<std::int32_t> eos() const { return vocabulary_.eos(); }
    /// The file wants a BOS in front of plain text. Chat templates write it themselves.
    bool add_bos() const { return vocabulary_.add_bos(); }
    /// Empty when the file has none.
    const std::string& chat_template() const { return vocabulary_.chat_template(); }

private:
    Tokenizer(Vocabulary vocabulary, MergeTable merges);
    void encode_between(std::string_view text, const ControlExtent& extent, BpeEncoder& encoder,
                        std::vector<std::int32_t>& ids) const;

    Vocabulary vocabulary_;
    MergeTable merges_;
    SpecialTokenIndex special_tokens_;
    PreTokenizer pre_tokenizer_;
};

}  // namespace lfm
