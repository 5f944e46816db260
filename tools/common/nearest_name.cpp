#include "tools/common/nearest_name.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace lfm::tools {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before, above(b.size() + 1), row(b.size() + 1);
    std::iota(above.begin(), above.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1), above[j] + 1, row[j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        before = std::exchange(above, row);
    }
    return above.back();
}

std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> known) {
    constexpr std::size_t kLongest = 64;  // no option is as long, and the time grows with the square
    if (name.size() > kLongest) return std::nullopt;
    std::optional<std::string> nearest;
    std::size_t least = 0;
    for (const std::string& candidate : known) {
        const std::size_t distance = edit_distance(name, candidate);
        if (3 * distance >= std::max(name.size(), candidate.size())) continue;
        if (nearest && distance >= least) continue;
        nearest = candidate;
        least = distance;
    }
    return nearest;
}

}  // namespace lfm::tools
