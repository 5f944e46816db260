// Options that people know from llama.cpp, and what replaces them here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lfm::tools {

/// What to use in place of llama.cpp's `option` ("-ngl", "--n-gpu-layers"), for a tool that has the options for which
/// `has` holds ("--vram-budget"). Nothing for what llama.cpp does not know either.
std::optional<std::string> replacement_of(std::string_view option, const std::function<bool(std::string_view)>& has);

}  // namespace lfm::tools
