// The rows that a sequence keeps for one short convolution: a ring, in which a step writes behind the rows that it
// reads. So a step that was interrupted, or is done again, finds what it began with.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lfm {

/// The window, the rows before the next token, begins at some slot; a step's rows follow it. A step of more rows than
/// the ring has room for leaves its last ones.
struct ConvRing {
    std::uint32_t n_past = 0;   // rows of the window: how far a convolution looks back
    std::uint32_t n_slots = 0;  // of the ring

    /// For taps of l_cache rows; up to n_rewind tokens of a step may be taken back after it.
    static constexpr ConvRing of(std::uint32_t l_cache, std::uint32_t n_rewind) {
        return {l_cache - 1, l_cache > 1 ? 2 * (l_cache - 1) + n_rewind : 0};
    }

    /// How many rows of a step of n_rows stay: the last ones.
    constexpr std::uint32_t n_kept(std::uint32_t n_rows) const { return std::min(n_rows, n_slots - n_past); }
    /// Where row i stands: of the window from 0 on, of what the step keeps from n_past on.
    constexpr std::uint32_t slot(std::uint32_t window, std::uint32_t i) const { return (window + i) % n_slots; }
    /// How many of a step's rows must stay.
    constexpr std::uint32_t least_accepted(std::uint32_t n_rows) const {
        return n_past == 0 || n_rows <= n_slots - n_past ? 0 : n_rows - (n_slots - 2 * n_past);
    }
    /// Where the window begins after a step of n_rows, of which the first n_accepted, not less than the least, stay.
    constexpr std::uint32_t after(std::uint32_t window, std::uint32_t n_rows, std::uint32_t n_accepted) const {
        return n_slots > 0 ? (window + n_kept(n_rows) - (n_rows - n_accepted)) % n_slots : 0;
    }
};

}  // namespace lfm
