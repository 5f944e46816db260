#include "tools/common/option_values.h"

#include <charconv>
#include <cstdio>

namespace lfm::tools {
namespace {

[[noreturn]] void fail(std::string_view option, const std::string& expected, std::string_view found) {
    throw Error(ErrorCode::kUsage, option, "expected " + expected + ", found " + shown(found));
}

template <typename Number>
std::optional<Number> whole_text(std::string_view text) {
    Number number{};
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::string range_text(IntegerRange range) {
    return "a whole number from " + std::to_string(range.lowest) + " to " + std::to_string(range.highest);
}

/// Calls `take` with each part between commas; an empty text is one empty part.
template <typename Take>
void split(std::string_view text, const Take& take) {
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        take(text.substr(at, end - at));
        at = end + 1;
    }
}

/// What a size without a unit may have meant: "8GiB", "16384MiB", "8589934592B".
std::string with_unit(std::string_view number) {
    const double value = whole_text<double>(number).value_or(0);
    return std::string(number) + (value < 2048 ? "GiB" : value < 0x1p21 ? "MiB" : "B");
}

Bytes parse_size(std::string_view text, std::string_view option, const char* expected) {
    if (const auto bytes = parse_bytes(text)) return *bytes;
    if (const auto number = whole_text<double>(text); number && *number > 0 && *number < 0x1p63)
        throw Error(ErrorCode::kUsage, option, std::string(text) + " what? " + with_unit(text));
    fail(option, expected, text);
}

}  // namespace

std::int64_t parse_integer(std::string_view text, std::string_view option, IntegerRange range) {
    const auto number = whole_text<std::int64_t>(text);
    if (!number || *number < range.lowest || *number > range.highest) fail(option, range_text(range), text);
    return *number;
}

std::vector<std::int64_t> parse_integers(std::string_view text, std::string_view option, IntegerRange range) {
    std::vector<std::int64_t> numbers;
    split(text, [&](std::string_view part) {
        const auto number = whole_text<std::int64_t>(part);
        if (!number || *number < range.lowest || *number > range.highest)
            fail(option,
                 "whole numbers from " + std::to_string(range.lowest) + " to " + std::to_string(range.highest) +
                     " with commas between",
                 text.size() < 40 ? text : part);
        numbers.push_back(*number);
    });
    return numbers;
}

double parse_number(std::string_view text, std::string_view option, NumberRange range) {
    const auto number = whole_text<double>(text);
    if (number && *number >= range.lowest && *number <= range.highest) return *number;  // NaN is neither
    char expected[80];
    std::snprintf(expected, sizeof expected, "a number from %g to %g", range.lowest, range.highest);
    fail(option, expected, text);
}

Bytes parse_budget(std::string_view text, std::string_view option, Bytes whole) {
    constexpr const char* kExpected = "a size (8GiB) or a share (0% to 100%)";
    if (!text.ends_with('%')) return parse_size(text, option, kExpected);
    const auto percent = whole_text<double>(text.substr(0, text.size() - 1));
    if (!percent || !(*percent >= 0 && *percent <= 100)) fail(option, kExpected, text);
    return Bytes{static_cast<std::uint64_t>(static_cast<double>(whole.value) * *percent / 100)};
}

std::vector<Bytes> parse_sizes(std::string_view text, std::string_view option) {
    std::vector<Bytes> sizes;
    split(text, [&](std::string_view part) {
        sizes.push_back(parse_size(part, option, "sizes (4GiB,8GiB) with commas between"));
    });
    return sizes;
}

std::optional<std::string> find_text(const po::variables_map& values, const char* option) {
    if (values.count(option) == 0) return std::nullopt;
    return values[option].as<std::string>();
}

std::optional<std::int64_t> find_integer(const po::variables_map& values, const char* option, IntegerRange range) {
    const auto text = find_text(values, option);
    return text ? std::optional(parse_integer(*text, std::string("--") + option, range)) : std::nullopt;
}

std::optional<double> find_number(const po::variables_map& values, const char* option, NumberRange range) {
    const auto text = find_text(values, option);
    return text ? std::optional(parse_number(*text, std::string("--") + option, range)) : std::nullopt;
}

std::optional<Bytes> find_budget(const po::variables_map& values, const char* option, Bytes whole) {
    const auto text = find_text(values, option);
    return text ? std::optional(parse_budget(*text, std::string("--") + option, whole)) : std::nullopt;
}

bool is_given(const po::variables_map& values, const char* option) {
    return values.count(option) > 0 && !values[option].defaulted();
}

}  // namespace lfm::tools
