// Cuts a text at random places: a streaming class must give the same for any cut.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <string_view>
#include <vector>

namespace lfm::test {

/// Pieces of 0 to `longest` bytes that together are `text`.
inline std::vector<std::string_view> random_split(std::string_view text, std::size_t longest, std::mt19937& random) {
    std::vector<std::string_view> pieces;
    while (!text.empty()) {
        const std::size_t length = std::min<std::size_t>(text.size(), random() % (longest + 1));
        pieces.push_back(text.substr(0, length));
        text.remove_prefix(length);
    }
    return pieces;
}

}  // namespace lfm::test
