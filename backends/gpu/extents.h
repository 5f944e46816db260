// Which memory an operation reads and writes, for code that moves or merges operations. Weights are left out, as no
// operation writes them; so are the slots of experts that travel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/backend.h"

namespace lfm::gpu {

struct Extent {
    const std::byte* begin;
    std::size_t bytes;

    bool overlaps(const Extent& other) const {
        return begin < other.begin + other.bytes && other.begin < begin + bytes;
    }
};

/// The first n_rows rows.
inline Extent extent_of(const RowsView& rows, std::uint32_t n_rows) {
    return {reinterpret_cast<const std::byte*>(rows.data), std::size_t{n_rows} * rows.n_cols * sizeof(float)};
}

/// For steps of at most n_rows rows, with a KV cache of n_ctx tokens.
struct Extents {
    std::uint32_t n_rows, n_ctx;

    /// Whether the operation writes, or reads, a part of `extent`.
    bool writes(const Operation& operation, const Extent& extent) const;
    bool reads(const Operation& operation, const Extent& extent) const;
};

}  // namespace lfm::gpu
