// Where characters as people see them begin and end: a joined emoji or a letter with its accents is one.
#pragma once

#include <cstddef>
#include <string_view>

namespace lfm::tools {

/// Code points of the character (a grapheme cluster) that ends at `at`; 0 at the beginning.
std::size_t cluster_before(std::wstring_view line, std::size_t at);

/// Code points of the character that begins at `at`, or of the rest of it; 0 at the end.
std::size_t cluster_after(std::wstring_view line, std::size_t at);

}  // namespace lfm::tools
