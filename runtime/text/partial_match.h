// Streaming search: how much of a text's end must wait because it may begin a marker.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace lfm {

/// Length of the longest suffix of `text` that is a prefix of `marker`, the whole marker excluded.
inline std::size_t partial_match(std::string_view text, std::string_view marker) {
    if (marker.empty()) return 0;
    std::size_t length = std::min(text.size(), marker.size() - 1);
    while (length > 0 && !text.ends_with(marker.substr(0, length))) --length;
    return length;
}

}  // namespace lfm
