// Splits text into pre-tokens, the stretches no token crosses.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace lfm {

struct Pcre2Free {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_context_8* limits) const;
    void operator()(pcre2_real_match_data_8* match) const;
};

/// LFM2's rules, compiled. Read-only, so threads may share it.
class PreTokenizer {
public:
    PreTokenizer();

private:
    friend class PreTokens;
    std::unique_ptr<pcre2_real_code_8, Pcre2Free> code_;
    std::unique_ptr<pcre2_real_match_context_8, Pcre2Free> limits_;
};

/// The pre-tokens of one text, in order; together they are the text. Linear time, whatever the text.
/// Text need not be UTF-8: a byte that is part of no character counts as one symbol (as U+FFFD would) and is kept.
class PreTokens {
public:
    /// `text` and `rules` outlive this.
    PreTokens(const PreTokenizer& rules, std::string_view text);

    /// Nothing at the end. Throws kInvalidInput when PCRE2 reports an error.
    std::optional<std::string_view> next();

private:
    std::size_t match_length() const;

    const PreTokenizer& rules_;
    std::unique_ptr<pcre2_real_match_data_8, Pcre2Free> match_;
    std::string_view text_;     // what is left
    std::string repaired_;      // the whole text with U+FFFD for bytes that are no UTF-8; empty when there are none
    std::string_view subject_;  // what is left of what the rules see: text_, or the rest of repaired_
};

}  // namespace lfm
