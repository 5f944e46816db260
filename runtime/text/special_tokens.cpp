#include "runtime/text/special_tokens.h"

#include <algorithm>
#include <utility>

namespace lfm {
namespace {

/// Some converters write markers as user-defined tokens.
bool is_marker(const Vocabulary& vocabulary, std::int32_t id) {
    const std::string_view piece = vocabulary.piece(id);
    return vocabulary.is_control(id) || (piece.starts_with("<|") && piece.ends_with("|>"));
}

}  // namespace

SpecialTokenIndex::SpecialTokenIndex(const Vocabulary& vocabulary) {
    for (std::int32_t id = 0; id < vocabulary.n_vocab(); ++id)
        if (vocabulary.is_special(id)) ids_.push_back(id);
    // Of equal pieces the first of each kind is kept; a user-defined token sorts before a control token.
    const auto key = [&](std::int32_t id) { return std::pair(vocabulary.piece(id), vocabulary.is_control(id)); };
    std::ranges::stable_sort(ids_, {}, key);
    const auto repeated = std::ranges::unique(ids_, {}, key);
    ids_.erase(repeated.begin(), repeated.end());
    for (std::uint32_t i = 0; i < ids_.size(); ++i) {
        Range& range = by_first_byte_[static_cast<unsigned char>(vocabulary.piece(ids_[i]).front())];
        if (range.begin == range.end) range.begin = i;
        range.end = i + 1;
    }
}

std::optional<SpecialTokenIndex::Match> SpecialTokenIndex::find(const Vocabulary& vocabulary, std::string_view text,
                                                                std::size_t from, const ControlExtent& extent) const {
    for (std::size_t i = from; i < text.size(); ++i) {
        const Range range = by_first_byte_[static_cast<unsigned char>(text[i])];
        if (range.begin == range.end) continue;  // nearly every byte
        if (const auto id = longest_prefix(vocabulary, text.substr(i), extent(i))) return Match{i, *id};
    }
    return std::nullopt;
}

/// Those of `range` that begin with `prefix`. All of them begin with `prefix` without its last byte.
SpecialTokenIndex::Range SpecialTokenIndex::narrow(const Vocabulary& vocabulary, Range range,
                                                   std::string_view prefix) const {
    const auto byte_there = [&](std::int32_t id) {
        return static_cast<unsigned char>(vocabulary.piece(id)[prefix.size() - 1]);
    };
    const auto equal = std::ranges::equal_range(ids_.begin() + range.begin, ids_.begin() + range.end,
                                                static_cast<unsigned char>(prefix.back()), {}, byte_there);
    return {static_cast<std::uint32_t>(equal.begin() - ids_.begin()),
            static_cast<std::uint32_t>(equal.end() - ids_.begin())};
}

std::optional<std::int32_t> SpecialTokenIndex::longest_prefix(const Vocabulary& vocabulary, std::string_view text,
                                                              std::size_t control_extent) const {
    std::optional<std::int32_t> longest;
    Range range = by_first_byte_[static_cast<unsigned char>(text.front())];
    for (std::size_t length = 1; range.begin < range.end; ++length) {
        // Pieces that end here, two at most, sort before those that go on.
        std::optional<std::int32_t> whole;
        for (; range.begin < range.end && vocabulary.piece(ids_[range.begin]).size() == length; ++range.begin) {
            const std::int32_t id = ids_[range.begin];
            if (!whole && (length <= control_extent || !is_marker(vocabulary, id))) whole = id;
        }
        if (whole) longest = whole;
        if (length == text.size()) break;
        range = narrow(vocabulary, range, text.substr(0, length + 1));
    }
    return longest;
}

}  // namespace lfm
