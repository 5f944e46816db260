// How the work of one kernel is cut into groups of threads, for programs that are recorded once and replayed for steps
// of any size.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/backend.h"

namespace lfm {

/// Programs are recorded twice: for steps of one token with no page to copy and no window to move, and for all others.
enum class StepClass : std::uint8_t { kOne, kMany };

/// What of a step an axis may count.
enum class StepCount : std::uint8_t {
    kTokens,
    kOutputs,
    kSingles,     // sequences of one row
    kPromptRows,  // rows of sequences of more than one
    kPageCopies,
};
constexpr StepCount count_of(RowSet rows) { return rows == RowSet::kTokens ? StepCount::kTokens : StepCount::kOutputs; }

/// How many groups lie along one axis of a dispatch: `groups`, or ceil(count of the step / per_group) · groups. A group
/// takes prompt rows of one sequence only: of these there are at least as many groups as that needs.
struct Axis {
    std::uint32_t groups = 1;
    std::optional<StepCount> count;
    std::uint32_t per_group = 1;

    bool operator==(const Axis&) const = default;
};
inline Axis fixed(std::uint32_t groups) { return {groups, std::nullopt, 1}; }
inline Axis per_count(StepCount count, std::uint32_t per_group = 1, std::uint32_t factor = 1) {
    return {factor, count, per_group};
}
inline Axis per_row(RowSet rows, std::uint32_t per_group = 1, std::uint32_t factor = 1) {
    return per_count(count_of(rows), per_group, factor);
}
inline std::uint32_t groups_of(std::uint32_t n, std::uint32_t per_group) { return (n + per_group - 1) / per_group; }

/// Of groups of threads.
struct Grid {
    Axis x, y, z;
    bool operator==(const Grid&) const = default;
};

}  // namespace lfm
