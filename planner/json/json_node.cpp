#include "planner/json/json_node.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "memory/error.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxBytes = std::size_t{4} << 20;
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxKeys = 64;  // of an object: the parser looks through them all for each new one
constexpr std::size_t kMaxText = 1024;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// The beginning of a stranger's text, fit for a message.
std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 48;
    std::size_t end = std::min(text.size(), kMost);
    // Not within a character of several bytes.
    while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    std::string result(text.substr(0, end));
    std::ranges::replace_if(result, is_control, '?');
    return end < text.size() ? result + "..." : result;
}

std::string describe(const Json* json) {
    if (json == nullptr) return "nothing";
    if (json->is_string()) return '"' + shown(json->get_ref<const std::string&>()) + '"';
    if (json->is_structured()) return json->is_array() ? "an array" : "an object";
    return json->dump();
}

/// 0.35 for 0.35, 16777216 for 2^24.
std::string number_text(double number) {
    if (number == std::floor(number) && std::abs(number) < 1e15)
        return std::to_string(static_cast<std::int64_t>(number));
    return Json(number).dump();
}

std::string join(std::initializer_list<std::string_view> words) {
    std::string text;
    for (const std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
    return text;
}

[[noreturn]] void fail_at(std::string_view source, std::string_view path, std::string_view expected,
                          std::string_view found) {
    std::string where(source);
    if (!path.empty()) where.append(": ").append(path);
    throw Error(ErrorCode::kInvalidInput, where,
                std::string("expected ").append(expected).append(", found ").append(found));
}

/// Called by the parser for every value; throwing ends the parse at once.
class ShapeCheck {
public:
    explicit ShapeCheck(std::string_view source) : source_(source), keys_(kMaxDepth + 1), steps_(kMaxDepth + 1) {}

    bool operator()(int depth, Json::parse_event_t event, Json& value) {
        const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
        if (opens && depth >= kMaxDepth) fail_at(source_, "", "nesting of at most 32 levels", "more");
        const auto level = static_cast<std::size_t>(depth);
        if (event == Json::parse_event_t::object_start) keys_[level + 1].clear();
        if (event == Json::parse_event_t::array_start) steps_[level + 1] = "[]";
        if (event == Json::parse_event_t::key) {
            const auto& key = value.get_ref<const std::string&>();
            steps_[level] = "." + shown(key);
            if (!keys_[level].insert(key).second) fail_at(source_, path(level), "one such key", "two");
            if (keys_[level].size() > kMaxKeys) fail_at(source_, path(level), "at most 64 keys in an object", "more");
        }
        return true;
    }

private:
    std::string path(std::size_t level) const {
        std::string text;
        for (std::size_t i = 1; i <= level; ++i) text += steps_[i];
        return text.substr(1);
    }

    std::string_view source_;
    std::vector<std::set<std::string>> keys_;  // of the open object at each depth
    std::vector<std::string> steps_;           // from the root to here
};

}  // namespace

Json parse_profile_json(std::string_view text, std::string_view source) {
    if (text.size() > kMaxBytes) fail_at(source, "", "at most 4 MiB of JSON", std::to_string(text.size()) + " bytes");
    ShapeCheck check(source);
    try {
        return Json::parse(text, std::ref(check));
    } catch (const Json::parse_error& error) {
        fail_at(source, "", "JSON in UTF-8", "an error at byte " + std::to_string(error.byte));
    } catch (const Json::exception&) {
        fail_at(source, "", "JSON", "a number that is too large");
    }
}

JsonNode JsonNode::operator[](std::string_view key) const {
    const std::string path = path_ + (path_.empty() ? "" : ".") + shown(key);
    const auto found = json_->find(std::string(key));
    return {found == json_->end() ? nullptr : &*found, source_, path};
}

JsonNode JsonNode::operator[](std::size_t index) const {
    return {&json_->at(index), source_, path_ + "[" + std::to_string(index) + "]"};
}

void JsonNode::require_object(std::string_view expected) const {
    if (!exists() || !json_->is_object()) fail(expected);
}

void JsonNode::require_known_keys(std::span<const std::string_view> keys) const {
    for (const auto& [key, value] : json_->items())
        if (std::ranges::find(keys, std::string_view(key)) == keys.end())
            (*this)[key].fail("a key of profiles/machine.schema.json", "another");
}

void JsonNode::require_array(std::string_view expected, std::size_t least, std::size_t most) const {
    if (!exists() || !json_->is_array()) fail(expected);
    if (json_->size() < least || json_->size() > most)
        fail(expected, std::to_string(json_->size()) + (json_->size() == 1 ? " entry" : " entries"));
}

double JsonNode::number(double least, double most) const {
    const std::string expected = "a number from " + number_text(least) + " to " + number_text(most);
    if (!exists() || !json_->is_number()) fail(expected);
    const double value = json_->get<double>();
    if (!(value >= least && value <= most)) fail(expected);
    return value;
}

std::uint64_t JsonNode::whole(std::uint64_t least, std::uint64_t most) const {
    const std::string expected = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    if (!exists() || !json_->is_number_unsigned()) fail(expected);
    const auto value = json_->get<std::uint64_t>();
    if (value < least || value > most) fail(expected);
    return value;
}

std::string JsonNode::text() const {
    if (!exists() || !json_->is_string()) fail("a text");
    const auto& value = json_->get_ref<const std::string&>();
    if (value.empty()) fail("a text that is not empty");
    if (value.size() > kMaxText)
        fail("a text of at most " + std::to_string(kMaxText) + " bytes", std::to_string(value.size()));
    if (std::ranges::any_of(value, is_control)) fail("a text without control characters");
    return value;
}

std::string JsonNode::one_of(std::initializer_list<std::string_view> choices) const {
    const std::string expected = "one of " + join(choices);
    if (!exists() || !json_->is_string()) fail(expected);
    const auto& value = json_->get_ref<const std::string&>();
    if (std::ranges::find(choices, std::string_view(value)) == choices.end()) fail(expected);
    return value;
}

void JsonNode::fail(std::string_view expected) const { fail(expected, describe(json_)); }

void JsonNode::fail(std::string_view expected, std::string_view found) const {
    fail_at(source_, path_, expected, found);
}

}  // namespace lfm
