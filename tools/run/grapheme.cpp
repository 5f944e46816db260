#define PCRE2_CODE_UNIT_WIDTH 8
#include "tools/run/grapheme.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <pcre2.h>

namespace lfm::tools {
namespace {

std::string utf8_of(std::wstring_view line) {
    std::string text;
    for (wchar_t character : line) {
        auto code = static_cast<char32_t>(character);
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) code = 0xFFFD;
        if (code < 0x80) {
            text += static_cast<char>(code);
            continue;
        }
        const int n_more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        text += static_cast<char>((0xF00 >> (n_more + 1) & 0xFF) | code >> 6 * n_more);
        for (int i = n_more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (code >> 6 * i & 0x3F));
    }
    return text;
}

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> any_cluster() {
    int error = 0;
    PCRE2_SIZE offset = 0;
    return {pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\X"), 2, PCRE2_UTF, &error, &offset, nullptr),
            pcre2_code_free};
}

/// The places in the line, in code points, where a cluster begins, and its end.
std::vector<std::size_t> borders(std::wstring_view line) {
    static const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> cluster = any_cluster();
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(pcre2_match_data_create(1, nullptr),
                                                                                    pcre2_match_data_free);
    const std::string text = utf8_of(line);
    std::vector<std::size_t> found;
    std::size_t n_characters = 0;
    for (std::size_t at = 0; at < text.size();) {
        found.push_back(n_characters);
        const bool matched = cluster && match &&
                             pcre2_match(cluster.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                         PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, match.get(), nullptr) > 0;
        // Without memory for it, a code point is a character.
        std::size_t end = matched ? pcre2_get_ovector_pointer(match.get())[1] : at + 1;
        while (end < text.size() && !begins_character(text[end])) ++end;
        for (; at < end; ++at) n_characters += begins_character(text[at]);
    }
    found.push_back(n_characters);
    return found;
}

}  // namespace

std::size_t cluster_before(std::wstring_view line, std::size_t at) {
    const std::vector<std::size_t> all = borders(line.substr(0, at));
    return all.size() < 2 ? 0 : all.back() - all[all.size() - 2];
}

std::size_t cluster_after(std::wstring_view line, std::size_t at) {
    const std::vector<std::size_t> all = borders(line);
    const auto next = std::ranges::upper_bound(all, at);
    return next == all.end() ? 0 : *next - at;
}

}  // namespace lfm::tools
