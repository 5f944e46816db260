#include "planner/json/json_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "memory/error.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxFile = std::size_t{4} << 20;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// Quoted and escaped.
std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string number_text(const Json& number) {
    if (!number.is_number_float()) return number.dump();
    const double value = number.get<double>();
    if (!std::isfinite(value))
        throw Error(ErrorCode::kInvalidInput, "JSON",
                    "expected a finite number, found " + std::string(std::isnan(value) ? "no number" : "infinity"));
    char digits[32];
    const auto [end, status] = std::to_chars(std::begin(digits), std::end(digits), value);
    return {digits, end};
}

/// Appends to a text. Recursion is as deep as the value, which the writers build.
class Layout {
public:
    void add(const Json& json, int depth) {
        if (json.is_object())
            add_object(json, depth);
        else if (json.is_array())
            add_array(json, depth);
        else if (json.is_string())
            text_ += quoted(json.get_ref<const std::string&>());
        else
            text_ += json.is_number() ? number_text(json) : json.dump();
    }
    std::string take() { return std::move(text_); }

private:
    void add_object(const Json& json, int depth) {
        text_ += '{';
        bool first = true;
        for (const auto& [key, value] : json.items()) {
            begin_line(first, depth + 1);
            first = false;
            text_ += quoted(key) + ": ";
            add(value, depth + 1);
        }
        if (!first) begin_line(true, depth);
        text_ += '}';
    }

    void add_array(const Json& json, int depth) {
        const bool one_line = std::ranges::all_of(json, [](const Json& entry) { return entry.is_number(); });
        text_ += '[';
        bool first = true;
        for (const Json& entry : json) {
            if (!one_line)
                begin_line(first, depth + 1);
            else if (!first)
                text_ += ", ";
            first = false;
            add(entry, depth + 1);
        }
        if (!one_line) begin_line(true, depth);
        text_ += ']';
    }

    void begin_line(bool first, int depth) {
        if (!first) text_ += ',';
        text_.append("\n").append(static_cast<std::size_t>(depth) * 2, ' ');
    }

    std::string text_;
};

}  // namespace

void require_head(const JsonNode& root, std::string_view format, int version) {
    root.require_object("an object of format " + std::string(format));
    root["format"].one_of({format});
    const JsonNode found = root["version"];
    if (found.whole(1, ~std::uint32_t{0}) != static_cast<std::uint64_t>(version))
        found.fail("version " + std::to_string(version) + ", the one this program reads");
}

void require_keys(const JsonNode& node, std::string_view schema, std::initializer_list<std::string_view> keys) {
    node.require_object("an object");
    for (const auto& [key, value] : node.json().items())
        if (std::ranges::find(keys, std::string_view(key)) == keys.end())
            node[key].fail("a key of profiles/" + std::string(schema), "another");
}

std::string read_text(const JsonNode& node) {
    if (!node.exists() || !node.json().is_string()) node.fail("a text");
    const auto& text = node.json().get_ref<const std::string&>();
    if (text.size() > kMaxText)
        node.fail("a text of at most " + std::to_string(kMaxText) + " bytes", std::to_string(text.size()));
    if (std::ranges::any_of(text, is_control)) node.fail("a text without control characters");
    return text;
}

std::string clean_text(std::string_view text) {
    std::string clean = Json::parse(quoted(std::string(text))).get<std::string>();
    std::ranges::replace_if(clean, is_control, '?');
    if (clean.size() <= kMaxText) return clean;
    std::size_t end = kMaxText;
    while (continues_character(clean[end])) --end;
    return clean.substr(0, end);
}

std::string json_text(const Json& json) {
    Layout layout;
    layout.add(json, 0);
    std::string text = layout.take() + "\n";
    if (text.size() > kMaxFile)
        throw Error(ErrorCode::kInvalidInput, "JSON",
                    "expected at most 4 MiB to write, found " + std::to_string(text.size()) + " bytes");
    return text;
}

}  // namespace lfm
