// What the JSON files of plans and routing share: their first keys, known keys, texts and layout.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "planner/json/json_node.h"

namespace lfm {

/// "format" and "version" as expected. Asked before the rest: of another version nothing else can be said.
void require_head(const JsonNode& root, std::string_view format, int version);

/// An object without other keys than these; `schema` is the file that lists them.
void require_keys(const JsonNode& node, std::string_view schema, std::initializer_list<std::string_view> keys);

/// 0 to 4096 bytes without control characters.
std::string read_text(const JsonNode& node);

/// What read_text accepts: control characters and bytes that are no UTF-8 replaced, the end cut off. Names of models
/// and devices are what their makers wrote.
std::string clean_text(std::string_view text);

/// Two spaces of indentation, arrays of numbers on one line, doubles in the shortest form that reads back exactly.
/// Throws Error{kInvalidInput} for a number that is not finite, and for more text than parse_profile_json takes:
/// nothing is written that cannot be read.
std::string json_text(const nlohmann::ordered_json& json);

}  // namespace lfm
