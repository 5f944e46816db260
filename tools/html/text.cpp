#include "tools/html/text.h"

#include <cmath>
#include <cstdio>

#include "runtime/text/utf8_stream.h"

namespace lfm::tools {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kThinSpace = "\xE2\x80\xAF";    // U+202F, does not break
constexpr std::string_view kDash = "\xE2\x80\x93";         // U+2013

std::string fixed(double value, int decimals) {
    char text[400];  // the largest double has 309 digits before the point
    std::snprintf(text, sizeof text, "%.*f", decimals, value);
    return text;
}

/// Control characters but for white space, and U+007F to U+009F: HTML does not allow them.
bool is_control(std::string_view character) {
    const auto first = static_cast<unsigned char>(character[0]);
    if (character.size() == 1)
        return (first < 0x20 && first != '\t' && first != '\n' && first != '\r') || first == 0x7f;
    return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

/// U+202A to U+202E and U+2066 to U+2069 could show a command in another order than it is copied.
bool turns_direction(std::string_view character) {
    if (!character.starts_with("\xE2\x80") && !character.starts_with("\xE2\x81")) return false;
    const auto second = static_cast<unsigned char>(character[1]), third = static_cast<unsigned char>(character[2]);
    return second == 0x80 ? third >= 0xAA && third <= 0xAE : third >= 0xA6 && third <= 0xA9;
}

}  // namespace

std::string joined(std::initializer_list<std::string_view> pieces) {
    std::string text;
    for (const std::string_view piece : pieces) text += piece;
    return text;
}

std::string escaped(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const Utf8Sequence sequence = first_utf8_sequence(text);
        const std::string_view character = text.substr(0, sequence.length);
        text.remove_prefix(sequence.length);
        if (sequence.state != Utf8State::kComplete || is_control(character) || turns_direction(character))
            result += kReplacement;
        else if (character == "&")
            result += "&amp;";
        else if (character == "<")
            result += "&lt;";
        else if (character == ">")
            result += "&gt;";
        else if (character == "\"")
            result += "&quot;";
        else if (character == "'")
            result += "&#39;";
        else
            result += character;
    }
    return result;
}

std::string attribute(std::string_view name, std::string_view value) { return joined({" ", name, "=\"", value, "\""}); }

std::string attribute(std::string_view name, double value) { return attribute(name, coordinate(value)); }

std::string element(std::string_view name, std::string_view attributes, std::string_view content) {
    return joined({"<", name, attributes, ">", content, "</", name, ">\n"});
}

std::string shape(std::string_view name, std::string_view attributes) {
    return joined({"<", name, attributes, "/>\n"});
}

std::string section(std::string_view id, std::string_view heading, std::string_view content) {
    if (content.empty()) return {};
    return element("section", attribute("aria-labelledby", id),
                   joined({"\n", element("h2", attribute("id", id), heading), content}));
}

std::string scrolled(std::string_view label, std::string_view content) {
    return element("div",
                   attribute("class", "wide") + attribute("tabindex", "0") + attribute("role", "region") +
                       attribute("aria-label", escaped(label)),
                   content);
}

std::string coordinate(double value) {
    if (!std::isfinite(value)) return "0";
    std::string text = fixed(value, 2);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text == "-0" ? "0" : text;
}

std::string figures(double value) {
    if (!std::isfinite(value)) return std::string(kDash);
    const double size = std::abs(value);
    return fixed(value, size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : 2);
}

std::string range(const Prediction& prediction) {
    return figures(prediction.low) + std::string(kDash) + figures(prediction.high);
}

std::string percent(double share) {
    if (!std::isfinite(share)) return std::string(kDash);
    if (share > 0 && share < 0.0005) return "under 0.1 %";
    const bool near_an_end = (share > 0 && share < 0.0995) || (share > 0.99 && share < 0.9995);
    return fixed(share * 100, near_an_end ? 1 : 0) + " %";
}

std::string duration(double seconds) {
    if (seconds >= 1) return figures(seconds) + " s";
    return seconds >= 1e-3 ? figures(seconds * 1e3) + " ms" : figures(seconds * 1e6) + " µs";
}

std::string count(std::uint64_t value) {
    std::string text = std::to_string(value);
    if (value < 10000) return text;
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, kThinSpace);
    return text;
}

}  // namespace lfm::tools
