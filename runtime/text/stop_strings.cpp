#include "runtime/text/stop_strings.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "memory/error.h"
#include "runtime/text/partial_match.h"

namespace lfm {
namespace {

constexpr std::size_t kMaxLength = 4096;  // partial_match takes time quadratic in it

struct Match {
    std::size_t begin, end;
};

std::optional<Match> first_match(std::string_view text, const std::vector<std::string>& strings) {
    std::optional<Match> first;
    for (const std::string& string : strings) {
        const std::size_t begin = text.find(string);
        if (begin == std::string_view::npos) continue;
        const Match match{begin, begin + string.size()};
        if (!first || std::pair(match.end, match.begin) < std::pair(first->end, first->begin)) first = match;
    }
    return first;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
    for (std::size_t i = 0; i < strings_.size(); ++i)
        if (strings_[i].empty() || strings_[i].size() > kMaxLength)
            throw Error{ErrorCode::kInvalidInput, "stop string " + std::to_string(i + 1),
                        "expected 1 to 4096 bytes, found " + std::to_string(strings_[i].size())};
}

StopStrings::Result StopStrings::push(std::string_view text) {
    if (stopped_) return {"", true};
    held_ += text;
    if (const auto match = first_match(held_, strings_)) {
        stopped_ = true;
        return {std::exchange(held_, {}).substr(0, match->begin), true};
    }
    std::size_t n_held = 0;
    for (const std::string& string : strings_) n_held = std::max(n_held, partial_match(held_, string));
    std::string free = held_.substr(0, held_.size() - n_held);
    held_.erase(0, free.size());
    return {std::move(free), false};
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace lfm
