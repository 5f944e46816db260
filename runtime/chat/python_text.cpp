#include "runtime/chat/python_text.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>

#include <nlohmann/json.hpp>

#include "runtime/text/utf8_stream.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

struct CodeRange {
    std::uint32_t first, last;
};

// What str.isspace() accepts.
constexpr CodeRange kSpaces[] = {{0x9, 0xD},       {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                 {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                 {0x205F, 0x205F}, {0x3000, 0x3000}};

// What repr() escapes: Unicode 14's categories Cc, Cf, Co, Zl, Zp, Zs without the space. Code points that Unicode has
// not assigned are escaped by Python, too, but not here.
constexpr CodeRange kUnprintable[] = {{0x0, 0x1F},        {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},
                                      {0x61C, 0x61C},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},
                                      {0x8E2, 0x8E2},     {0x1680, 0x1680},   {0x180E, 0x180E},   {0x2000, 0x200F},
                                      {0x2028, 0x202F},   {0x205F, 0x2064},   {0x2066, 0x206F},   {0x3000, 0x3000},
                                      {0xE000, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD},
                                      {0x110CD, 0x110CD}, {0x13430, 0x13438}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
                                      {0xE0001, 0xE0001}, {0xE0020, 0xE007F}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}};

bool in_ranges(std::span<const CodeRange> ranges, std::uint32_t code) {
    return std::ranges::any_of(ranges, [=](CodeRange range) { return code >= range.first && code <= range.last; });
}

/// `character`: one well-formed UTF-8 sequence.
std::uint32_t code_point(std::string_view character) {
    const auto lead = static_cast<unsigned char>(character[0]);
    if (character.size() == 1) return lead;
    std::uint32_t code = lead & (0x7Fu >> character.size());
    for (const char c : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
    return code;
}

std::string escaped(const char* format, std::uint32_t code) {
    char text[16];
    std::snprintf(text, sizeof text, format, static_cast<unsigned>(code));
    return text;
}

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\b': out += "\\b"; break;
            case '\f': out += "\\f"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20)
                    out += escaped("\\u%04x", static_cast<unsigned char>(c));
                else
                    out += c;
        }
    }
    return out + '"';
}

std::string repr_character(std::string_view character, char quote) {
    const std::uint32_t code = code_point(character);
    if (code == static_cast<unsigned char>(quote) || code == '\\') return std::string("\\").append(character);
    if (code == '\n') return "\\n";
    if (code == '\r') return "\\r";
    if (code == '\t') return "\\t";
    if (!in_ranges(kUnprintable, code)) return std::string(character);
    return escaped(code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
}

/// In single quotes; in double ones when the text has single quotes and no double ones.
std::string repr_string(std::string_view text) {
    const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
    std::string out(1, quote);
    while (!text.empty()) {
        const Utf8Sequence sequence = first_utf8_sequence(text);
        const std::string_view character = text.substr(0, sequence.length);
        out += sequence.state == Utf8State::kComplete ? repr_character(character, quote) : std::string(character);
        text.remove_prefix(sequence.length);
    }
    return out + quote;
}

/// repr(float): the shortest digits that read back the same; an exponent below 1e-4 and from 1e16.
std::string float_text(double value) {
    char text[64];
    const auto print = [&](std::chars_format format) {
        return std::string(text, std::to_chars(text, text + sizeof text, value, format).ptr);
    };
    std::string scientific = print(std::chars_format::scientific);
    const int exponent = std::stoi(scientific.substr(scientific.find('e') + 1));
    if (exponent < -4 || exponent >= 16) return scientific;
    const std::string fixed = print(std::chars_format::fixed);
    return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

std::string number_text(const Json& value) {
    if (value.is_number_float()) return float_text(value.get<double>());
    if (value.is_number_unsigned()) return std::to_string(value.get<std::uint64_t>());
    return std::to_string(value.get<std::int64_t>());
}

/// The two notations differ in these only.
struct Notation {
    std::string_view true_text, false_text, null_text;
    std::string (*quote)(std::string_view);
};
constexpr Notation kJson{"true", "false", "null", json_string};
constexpr Notation kRepr{"True", "False", "None", repr_string};

void print(const Json& value, const Notation& notation, std::string& out) {
    std::string_view separator;
    if (value.is_object()) {
        out += '{';
        for (const auto& [key, item] : value.items()) {
            out.append(separator).append(notation.quote(key)).append(": ");
            print(item, notation, out);
            separator = ", ";
        }
        out += '}';
    } else if (value.is_array()) {
        out += '[';
        for (const Json& item : value) {
            out += separator;
            print(item, notation, out);
            separator = ", ";
        }
        out += ']';
    } else if (value.is_string()) {
        out += notation.quote(value.get_ref<const std::string&>());
    } else if (value.is_boolean()) {
        out += value.get<bool>() ? notation.true_text : notation.false_text;
    } else if (value.is_number()) {
        out += number_text(value);
    } else {
        out += notation.null_text;
    }
}

/// Bytes of the white space character at the front; 0 when there is none.
std::size_t leading_space(std::string_view text) {
    if (text.empty()) return 0;
    const Utf8Sequence sequence = first_utf8_sequence(text);
    const bool complete = sequence.state == Utf8State::kComplete;
    return complete && in_ranges(kSpaces, code_point(text.substr(0, sequence.length))) ? sequence.length : 0;
}

std::size_t trailing_space(std::string_view text) {
    for (std::size_t length = 1; length <= std::min<std::size_t>(3, text.size()); ++length)  // no space has four bytes
        if (leading_space(text.substr(text.size() - length)) == length) return length;
    return 0;
}

}  // namespace

std::string python_json(const Json& value) {
    std::string out;
    print(value, kJson, out);
    return out;
}

std::string python_str(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    std::string out;
    print(value, kRepr, out);
    return out;
}

std::string_view python_strip(std::string_view text) {
    while (const std::size_t length = leading_space(text)) text.remove_prefix(length);
    while (const std::size_t length = trailing_space(text)) text.remove_suffix(length);
    return text;
}

}  // namespace lfm
