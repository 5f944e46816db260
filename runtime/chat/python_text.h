// Values printed as Jinja templates print them, that is, by Python's json.dumps and str.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lfm {

/// json.dumps(value, ensure_ascii=False): ", " and ": " between, keys in their order. Recurses into `value`.
std::string python_json(const nlohmann::ordered_json& value);

/// str(value): True, None, 1.0, ['a', {'b': 2}]; a string as it is. Recurses into `value`.
std::string python_str(const nlohmann::ordered_json& value);

/// text.strip(): without Unicode white space at both ends.
std::string_view python_strip(std::string_view text);

}  // namespace lfm
