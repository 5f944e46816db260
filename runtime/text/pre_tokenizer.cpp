#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/pre_tokenizer.h"

#include <cstdint>
#include <limits>
#include <new>

#include <pcre2.h>

#include "memory/error.h"
#include "runtime/text/utf8_stream.h"

namespace lfm {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// The published rules are
///   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
///   | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// Here repeats are possessive wherever backtracking could not help, so that nothing is remembered for each character
/// of a long pre-token, and `\s*[\r\n]+` takes lines one by one instead of running ahead and coming back.
std::string pattern() {
    // White_Space without CR and LF. PCRE2's own \s matches U+180E too, which left White_Space in Unicode 6.3.
    const std::string blank =
        R"(\t\x0B\x0C \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
    const std::string space = "\\r\\n" + blank;
    std::string rules = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
    rules += R"(|[^\r\n\p{L}\p{N}]?+\p{L}++)";
    rules += R"(|\p{N}{1,3}+)";
    rules += R"(| ?+[^)" + space + R"(\p{L}\p{N}]++[\r\n]*+)";
    rules += R"(|(?:[)" + blank + R"(]*+[\r\n]++)++)";
    rules += "|[" + space + "]+(?![^" + space + "])";
    rules += "|[" + space + "]++";
    return rules;
}

/// Length of the character at the start of `text`; nothing when its first byte is part of none.
std::optional<std::size_t> character_length(std::string_view text) {
    if (static_cast<unsigned char>(text.front()) < 0x80) return 1;
    const Utf8Sequence sequence = first_utf8_sequence(text);
    return sequence.state == Utf8State::kComplete ? std::optional(sequence.length) : std::nullopt;
}

std::size_t valid_prefix(std::string_view text) {
    std::size_t valid = 0;
    while (valid < text.size()) {
        const auto length = character_length(text.substr(valid));
        if (!length) break;
        valid += *length;
    }
    return valid;
}

std::string repair(std::string_view text) {
    std::string repaired;
    while (!text.empty()) {
        const std::size_t valid = valid_prefix(text);
        repaired += text.substr(0, valid);
        if (valid == text.size()) break;
        repaired += kReplacement;
        text.remove_prefix(valid + 1);
    }
    return repaired;
}

std::string pcre2_message(int code) {
    char text[160] = "";
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
    return text;
}

}  // namespace

void Pcre2Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void Pcre2Free::operator()(pcre2_real_match_context_8* limits) const { pcre2_match_context_free(limits); }
void Pcre2Free::operator()(pcre2_real_match_data_8* match) const { pcre2_match_data_free(match); }

PreTokenizer::PreTokenizer() : limits_(pcre2_match_context_create(nullptr)) {
    if (!limits_) throw std::bad_alloc();
    // The limit guards against rules that backtrack. These do not, but every line of a run of empty lines counts.
    pcre2_set_match_limit(limits_.get(), std::numeric_limits<std::uint32_t>::max());
    const std::string rules = pattern();
    int error = 0;
    PCRE2_SIZE position = 0;
    // PCRE2_UCP is left out on purpose: no \s, \w or \d is used, and \p{..} always means Unicode.
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rules.data()), rules.size(), PCRE2_UTF | PCRE2_ANCHORED,
                              &error, &position, nullptr));
    if (!code_) throw Error(ErrorCode::kUnsupportedModel, "pre-tokenizer", "PCRE2: " + pcre2_message(error));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without it matching is slower, the result the same
}

PreTokens::PreTokens(const PreTokenizer& rules, std::string_view text)
    : rules_(rules), match_(pcre2_match_data_create(1, nullptr)), text_(text), subject_(text) {
    if (!match_) throw std::bad_alloc();
    if (valid_prefix(text) == text.size()) return;
    repaired_ = repair(text);
    subject_ = repaired_;
}

std::optional<std::string_view> PreTokens::next() {
    if (subject_.empty()) return std::nullopt;
    const std::string_view matched = subject_.substr(0, match_length());
    std::size_t length = matched.size();
    if (!repaired_.empty()) {
        // text_ and the repaired text have equally many characters, but not of the same lengths.
        length = 0;
        for (const char byte : matched)
            if ((byte & 0xC0) != 0x80) length += character_length(text_.substr(length)).value_or(1);
    }
    const std::string_view pre_token = text_.substr(0, length);
    text_.remove_prefix(length);
    subject_.remove_prefix(matched.size());
    return pre_token;
}

std::size_t PreTokens::match_length() const {
    // The constructor has checked the text; PCRE2 would check all that is left, for every pre-token.
    const auto match = [&](std::uint32_t options) {
        return pcre2_match(rules_.code_.get(), reinterpret_cast<PCRE2_SPTR>(subject_.data()), subject_.size(), 0,
                           PCRE2_NO_UTF_CHECK | options, match_.get(), rules_.limits_.get());
    };
    int result = match(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
    if (result < 0) throw Error(ErrorCode::kInvalidInput, "pre-tokenizer", "PCRE2: " + pcre2_message(result));
    return pcre2_get_ovector_pointer(match_.get())[1];
}

}  // namespace lfm
