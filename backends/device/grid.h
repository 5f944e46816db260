// How the work of one kernel is cut into groups of threads, for programs that are recorded once and replayed for steps
// of any size.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/backend.h"

namespace lfm {

/// Programs are recorded twice: for steps of one token, and for all others.
enum class StepClass : std::uint8_t { kOne, kMany };

/// How many groups lie along one axis of a dispatch: `groups`, or ceil(rows of the step / per_group) · groups.
struct Axis {
    std::uint32_t groups = 1;
    std::optional<RowSet> rows;
    std::uint32_t per_group = 1;

    bool operator==(const Axis&) const = default;
};
inline Axis fixed(std::uint32_t groups) { return {groups, std::nullopt, 1}; }
inline Axis per_row(RowSet rows, std::uint32_t per_group = 1, std::uint32_t factor = 1) {
    return {factor, rows, per_group};
}
inline std::uint32_t groups_of(std::uint32_t n, std::uint32_t per_group) { return (n + per_group - 1) / per_group; }

/// Of groups of threads.
struct Grid {
    Axis x, y, z;
    bool operator==(const Grid&) const = default;
};

}  // namespace lfm
