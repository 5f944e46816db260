// Finds the tokens that are cut out of a text before it is split: control and user-defined ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/text/vocabulary.h"

namespace lfm {

/// How the spelling of a control token in a text is read. Text from users and tools must be kAsText, or it could forge
/// chat turns. User-defined tokens are tokens either way, except those that look like a control token ("<|call|>").
enum class SpecialTokens { kAsText, kAsTokens };

/// How many bytes of a text, from position `at` on, may be read as a control token.
using ControlExtent = std::function<std::size_t(std::size_t at)>;

/// Holds ids only: every call takes the vocabulary it was made from.
class SpecialTokenIndex {
public:
    explicit SpecialTokenIndex(const Vocabulary& vocabulary);

    struct Match {
        std::size_t begin;  // in the text
        std::int32_t id;
    };
    /// The earliest one at or after `from`, the longest of those that begin there.
    std::optional<Match> find(const Vocabulary& vocabulary, std::string_view text, std::size_t from,
                              const ControlExtent& extent) const;

private:
    struct Range {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
    };
    Range narrow(const Vocabulary& vocabulary, Range range, std::string_view prefix) const;
    std::optional<std::int32_t> longest_prefix(const Vocabulary& vocabulary, std::string_view text,
                                               std::size_t control_extent) const;

    std::vector<std::int32_t> ids_;  // sorted by piece
    std::array<Range, 256> by_first_byte_{};
};

}  // namespace lfm
