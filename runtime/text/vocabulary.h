// The tokens of a model: their bytes, kinds and the ids with a meaning.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "memory/gguf.h"

namespace lfm {

/// The values are those of `tokenizer.ggml.token_type`.
enum class TokenType : std::uint8_t {
    kUndefined = 0,
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
};

/// Owns copies of everything; the file may go away. A token's piece is what it stands for in text: the bytes behind the
/// byte-level spelling, or the text as written for control and user-defined tokens.
class Vocabulary {
public:
    /// Throws kUnsupportedModel when the tokenizer is not LFM2's byte-level BPE, kInvalidModel for damaged keys; both
    /// name the key. Without `tokenizer.ggml.pre` LFM2's rules are assumed, without `token_type` normal tokens.
    static Vocabulary from_gguf(const GgufFile& file);

    std::int32_t n_vocab() const { return static_cast<std::int32_t>(types_.size()); }
    /// Throw kInvalidInput when `id` is out of range. The view lives as long as the vocabulary.
    std::string_view piece(std::int32_t id) const;
    TokenType type(std::int32_t id) const;
    /// Control and unknown tokens: never the result of ordinary text, not shown to the reader.
    bool is_control(std::int32_t id) const;
    /// Also found in ordinary text before it is split: control and user-defined tokens.
    bool is_special(std::int32_t id) const { return is_control(id) || type(id) == TokenType::kUserDefined; }

    /// The token with exactly this piece. Of several: the first that is not control, else the first.
    std::optional<std::int32_t> find(std::string_view piece) const;
    /// The token of one byte, never a control token.
    std::optional<std::int32_t> find_byte(std::uint8_t byte) const;

    std::optional<std::int32_t> bos() const { return bos_; }
    std::optional<std::int32_t> eos() const { return eos_; }
    /// The file wants a BOS in front of text without a template.
    bool add_bos() const { return add_bos_; }
    /// Empty when the file has none.
    const std::string& chat_template() const { return chat_template_; }

private:
    Vocabulary() = default;
    void read_tokens(const GgufFile& file);
    void read_ids(const GgufFile& file);
    void index_pieces();
    std::uint32_t slot_of(std::string_view piece) const;
    void check_range(std::int32_t id) const;

    std::string pieces_;                  // all of them, one after the other
    std::vector<std::uint32_t> offsets_;  // n_vocab + 1 positions in pieces_
    std::vector<TokenType> types_;
    std::vector<std::int32_t> slots_;  // open addressing by the piece's hash, a power of two in size; -1: free
    std::array<std::int32_t, 256> byte_tokens_{};  // -1: none
    std::optional<std::int32_t> bos_;
    std::optional<std::int32_t> eos_;
    bool add_bos_ = false;
    std::string chat_template_;
};

}  // namespace lfm
