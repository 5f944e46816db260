// Which known name a mistyped one may have meant.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lfm::tools {

/// Letters to insert, remove, replace or swap with their neighbour to get from one to the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The known name with the least edit distance, the first of equals; nothing when a third of the letters or more
/// differ.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> known);

}  // namespace lfm::tools
