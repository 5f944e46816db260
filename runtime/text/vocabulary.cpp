#include "runtime/text/vocabulary.h"

#include <bit>
#include <functional>

#include "memory/error.h"
#include "runtime/text/byte_level.h"

namespace lfm {
namespace {

// Bounds far above any real file (the largest LFM2 has 128 000 tokens, the longest special token 25 bytes), so that
// loading a damaged file stays quick and small.
constexpr std::uint64_t kMaxTokens = 1 << 19;
constexpr std::uint64_t kMaxTokenBytes = 64 << 20;    // of all tokens together
constexpr std::uint64_t kMaxSpecialTokenBytes = 256;  // a text is compared with them at every position

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";

struct Mismatch {
    std::string_view key;
    std::string expected;
    std::string found;
};

[[noreturn]] void fail(const GgufFile& file, const Mismatch& mismatch, ErrorCode code = ErrorCode::kInvalidModel) {
    throw Error(code, file.name() + ": " + std::string(mismatch.key),
                "expected " + mismatch.expected + ", found " + mismatch.found);
}

/// A file's text as it may appear in a message: short, printable.
std::string quoted(std::string_view text) {
    std::string shown = "\"";
    for (const char c : text.substr(0, 40)) shown += c >= 0x20 && c < 0x7f ? c : '?';
    return shown + '"';
}

void check_kind(const GgufFile& file) {
    if (const auto model = file.get_string(kModelKey); model != "gpt2")
        fail(file, {kModelKey, "\"gpt2\" (byte-level BPE)", quoted(model)}, ErrorCode::kUnsupportedModel);
    if (const auto pre = file.find_string(kPreKey); pre && *pre != "lfm2")
        fail(file, {kPreKey, "\"lfm2\"", quoted(*pre)}, ErrorCode::kUnsupportedModel);
}

/// Before decoding, which takes 16 bytes a token whatever the file holds.
void check_token_count(const GgufFile& file) {
    const GgufEntry* tokens = file.find(kTokensKey);
    if (tokens == nullptr) fail(file, {kTokensKey, "this key", "nothing"});
    if (tokens->type != GgufType::kArray) return;  // find_strings says so
    if (tokens->count < 2 || tokens->count > kMaxTokens)
        fail(file, {kTokensKey, "2 to " + std::to_string(kMaxTokens) + " tokens", std::to_string(tokens->count)});
    if (tokens->payload.size() > kMaxTokenBytes)
        fail(file, {kTokensKey, "at most " + std::to_string(kMaxTokenBytes) + " bytes of tokens",
                    std::to_string(tokens->payload.size())});
}

std::vector<TokenType> read_types(const GgufFile& file, std::size_t n_vocab) {
    std::vector<TokenType> types(n_vocab, TokenType::kNormal);
    const GgufEntry* entry = file.find(kTypesKey);
    if (entry == nullptr) return types;
    if (entry->type == GgufType::kArray && entry->count != n_vocab)
        fail(file, {kTypesKey, std::to_string(n_vocab) + " entries, as many as tokens", std::to_string(entry->count)});
    const auto values = file.find_integers(kTypesKey).value();
    for (std::size_t id = 0; id < n_vocab; ++id) {
        if (values[id] < 0 || values[id] > static_cast<std::int64_t>(TokenType::kByte))
            fail(file, {kTypesKey, "types of 0 to 6", std::to_string(values[id]) + " for token " + std::to_string(id)});
        types[id] = static_cast<TokenType>(values[id]);
    }
    return types;
}

}  // namespace

Vocabulary Vocabulary::from_gguf(const GgufFile& file) {
    Vocabulary vocabulary;
    check_kind(file);
    check_token_count(file);
    vocabulary.read_tokens(file);
    vocabulary.read_ids(file);
    vocabulary.index_pieces();
    vocabulary.chat_template_ = file.find_string("tokenizer.chat_template").value_or("");
    return vocabulary;
}

void Vocabulary::read_tokens(const GgufFile& file) {
    const auto tokens = file.find_strings(kTokensKey).value();
    types_ = read_types(file, tokens.size());
    // A piece is never longer than its spelling.
    pieces_.reserve(file.find(kTokensKey)->payload.size() - sizeof(std::uint64_t) * tokens.size());
    offsets_.reserve(tokens.size() + 1);
    offsets_.push_back(0);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool special = is_special(static_cast<std::int32_t>(i));
        if (tokens[i].empty())
            fail(file, {kTokensKey, "tokens of at least one byte", "token " + std::to_string(i) + " empty"});
        if (special && tokens[i].size() > kMaxSpecialTokenBytes)
            fail(file, {kTokensKey, "special tokens of at most " + std::to_string(kMaxSpecialTokenBytes) + " bytes",
                        std::to_string(tokens[i].size()) + " in token " + std::to_string(i)});
        if (special)
            pieces_ += tokens[i];
        else
            append_byte_level(tokens[i], pieces_);
        offsets_.push_back(static_cast<std::uint32_t>(pieces_.size()));
    }
}

void Vocabulary::read_ids(const GgufFile& file) {
    const auto read_id = [&](std::string_view key) -> std::optional<std::int32_t> {
        const auto id = file.find_u32(key);
        if (!id) return std::nullopt;
        if (*id >= types_.size())
            fail(file, {key, "a token id below " + std::to_string(types_.size()), std::to_string(*id)});
        return static_cast<std::int32_t>(*id);
    };
    bos_ = read_id("tokenizer.ggml.bos_token_id");
    eos_ = read_id("tokenizer.ggml.eos_token_id");
    // As in llama.cpp, LFM2 adds a BOS unless the file says otherwise.
    add_bos_ = file.find_bool("tokenizer.ggml.add_bos_token").value_or(true) && bos_.has_value();
}

void Vocabulary::index_pieces() {
    slots_.assign(std::bit_ceil(types_.size() * 2), -1);
    const auto index_where = [&](bool control) {
        for (std::int32_t id = 0; id < n_vocab(); ++id) {
            if (is_control(id) != control) continue;
            std::int32_t& slot = slots_[slot_of(piece(id))];
            if (slot < 0) slot = id;
        }
    };
    index_where(false);
    for (int byte = 0; byte < 256; ++byte) {
        const char text = static_cast<char>(byte);
        byte_tokens_[byte] = find({&text, 1}).value_or(-1);
    }
    index_where(true);
}

/// The slot that holds `piece`, or the free one where it belongs. At most half of the slots are taken.
std::uint32_t Vocabulary::slot_of(std::string_view wanted) const {
    const std::uint32_t mask = static_cast<std::uint32_t>(slots_.size()) - 1;
    auto slot = static_cast<std::uint32_t>(std::hash<std::string_view>{}(wanted)) & mask;
    while (slots_[slot] >= 0 && piece(slots_[slot]) != wanted) slot = (slot + 1) & mask;
    return slot;
}

void Vocabulary::check_range(std::int32_t id) const {
    if (id < 0 || id >= n_vocab())
        throw Error(ErrorCode::kInvalidInput, "token id",
                    "expected 0 to " + std::to_string(n_vocab() - 1) + ", found " + std::to_string(id));
}

std::string_view Vocabulary::piece(std::int32_t id) const {
    check_range(id);
    return std::string_view(pieces_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
}

TokenType Vocabulary::type(std::int32_t id) const {
    check_range(id);
    return types_[id];
}

bool Vocabulary::is_control(std::int32_t id) const {
    const TokenType kind = type(id);
    return kind == TokenType::kControl || kind == TokenType::kUnknown;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view wanted) const {
    const std::int32_t id = slots_[slot_of(wanted)];
    return id < 0 ? std::nullopt : std::optional(id);
}

std::optional<std::int32_t> Vocabulary::find_byte(std::uint8_t byte) const {
    const std::int32_t id = byte_tokens_[byte];
    return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace lfm
