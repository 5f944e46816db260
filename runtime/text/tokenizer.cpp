#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

// Positions are 32 bits; far beyond any context.
constexpr std::size_t kMaxTextBytes = (std::size_t{1} << 30) - 1;

void check_size(std::string_view text) {
    if (text.size() > kMaxTextBytes)
        throw Error(ErrorCode::kInvalidInput, "text",
                    "expected less than 1 GiB, found " + std::to_string(text.size()) + " bytes");
}

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
    check_size(text);
    const std::size_t extent = parse == SpecialTokens::kAsTokens ? text.size() : 0;
    std::vector<std::int32_t> ids;
    BpeEncoder encoder(vocabulary_, merges_);
    encode_between(
        text, [extent](std::size_t) { return extent; }, encoder, ids);
    return ids;
}

std::vector<std::int32_t> Tokenizer::encode(const MarkedText& text) const {
    check_size(text.str());
    std::vector<std::int32_t> ids;
    BpeEncoder encoder(vocabulary_, merges_);
    const auto runs = text.runs();
    const auto is_token = [](const MarkedText::Run& run) { return run.source == TextSource::kToken; };
    std::size_t begin = 0;
    for (auto run = runs.begin(); run != runs.end();) {
        if (is_token(*run)) {
            ids.push_back(run->id);
            begin = run++->end;
            continue;
        }
        const auto stop = std::find_if(run, runs.end(), is_token);
        const auto extent = [&, begin](std::size_t at) {  // bytes of the run of markup that `at` is in
            const auto holder = std::ranges::upper_bound(run, stop, begin + at, {}, &MarkedText::Run::end);
            return holder->source == TextSource::kMarkup ? holder->end - begin - at : 0;
        };
        const std::size_t end = std::prev(stop)->end;
        encode_between(std::string_view(text.str()).substr(begin, end - begin), extent, encoder, ids);
        begin = end;
        run = stop;
    }
    return ids;
}

void Tokenizer::encode_between(std::string_view text, const ControlExtent& extent, BpeEncoder& encoder,
                               std::vector<std::int32_t>& ids) const {
    for (std::size_t begin = 0; begin < text.size();) {
        const auto special = special_tokens_.find(vocabulary_, text, begin, extent);
        const std::size_t end = special ? special->begin : text.size();
        PreTokens pre_tokens(pre_tokenizer_, text.substr(begin, end - begin));
        while (const auto pre_token = pre_tokens.next()) encoder.append(*pre_token, ids);
        if (!special) return;
        ids.push_back(special->id);
        begin = end + vocabulary_.piece(special->id).size();
    }
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
