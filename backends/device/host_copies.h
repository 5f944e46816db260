// Copies from host memory to host memory, in pieces that several threads take.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "backends/device.h"

namespace lfm {

/// Keeps the memory of its list between runs.
class HostCopies {
public:
    /// Bytes. Copying them takes long beside waking a thread.
    static constexpr std::size_t kPiece = std::size_t{512} << 10;

    HostCopies() { pieces_.reserve(64); }

    void add(std::byte* to, const std::byte* from, std::size_t size) {
        for (std::size_t at = 0; at < size; at += kPiece)
            pieces_.push_back({to + at, from + at, std::min(kPiece, size - at)});
    }
    /// Does all that was added, and forgets it. `workers` null: the caller alone.
    void run(const Workers* workers) {
        const auto copy = [this](std::size_t i) { std::memcpy(pieces_[i].to, pieces_[i].from, pieces_[i].size); };
        if (workers != nullptr && pieces_.size() > 1)
            (*workers)(pieces_.size(), copy);
        else
            for (std::size_t i = 0; i < pieces_.size(); ++i) copy(i);
        pieces_.clear();
    }

private:
    std::vector<CopyRegion> pieces_;
};

}  // namespace lfm
