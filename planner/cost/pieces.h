// Adding up memory that is handed out piece by piece.
#pragma once

#include <cstdint>

#include "memory/units.h"

namespace lfm {

/// Each piece begins on a cache line, as a Carver hands them out.
class Pieces {
public:
    void add(std::uint64_t count, std::uint64_t size) { bytes_ += (count * size + 63) / 64 * 64; }
    Bytes bytes() const { return {bytes_}; }

private:
    std::uint64_t bytes_ = 0;
};

}  // namespace lfm
