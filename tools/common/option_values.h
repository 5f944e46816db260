// Values of options, read and checked: numbers within their bounds, lists of them, sizes. What is no number, overflows
// or has anything before or behind it is Error{kUsage} with the option, what is permitted, and what was found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "memory/units.h"
#include "tools/common/command_line.h"

namespace lfm::tools {

struct IntegerRange {
    std::int64_t lowest = 0, highest = 0;
};
struct NumberRange {
    double lowest = 0, highest = 0;
};

inline constexpr IntegerRange kThreadRange{1, 1024};
inline constexpr IntegerRange kBatchRange{1, 1 << 16};
inline constexpr IntegerRange kContextRange{0, 1 << 30};
inline constexpr IntegerRange kDeviceRange{0, 255};

/// Of one text. `option` begins an error's message: "--threads".
std::int64_t parse_integer(std::string_view text, std::string_view option, IntegerRange range);
/// Numbers with commas between, at least one.
std::vector<std::int64_t> parse_integers(std::string_view text, std::string_view option, IntegerRange range);
/// "0.7", ".5", "1e-3"; neither infinite nor NaN.
double parse_number(std::string_view text, std::string_view option, NumberRange range);
/// "8GiB", "80%" of `whole`, "0". A number alone is no size.
Bytes parse_budget(std::string_view text, std::string_view option, Bytes whole);
/// Sizes with commas between, at least one.
std::vector<Bytes> parse_sizes(std::string_view text, std::string_view option);

/// The value of an option given or set by default; nothing when there is none.
std::optional<std::string> find_text(const po::variables_map& values, const char* option);
std::optional<std::int64_t> find_integer(const po::variables_map& values, const char* option, IntegerRange range);
std::optional<double> find_number(const po::variables_map& values, const char* option, NumberRange range);
std::optional<Bytes> find_budget(const po::variables_map& values, const char* option, Bytes whole);

/// Whether the user wrote the option.
bool is_given(const po::variables_map& values, const char* option);

}  // namespace lfm::tools
