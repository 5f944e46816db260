#include "backends/gpu/kept_state.h"

#include <iterator>
#include <utility>
#include <variant>

namespace lfm::gpu {

void KeptState::add(Pieces& pieces, std::byte* begin, std::size_t size) {
    const auto [piece, is_new] = pieces.try_emplace(begin, size);
    if (!is_new) return;
    if (const auto next = std::next(piece); next != pieces.end() && begin + size == next->first) {
        piece->second += next->second;
        pieces.erase(next);
    }
    if (piece == pieces.begin()) return;
    const auto before = std::prev(piece);
    if (begin < before->first + before->second) {  // it is part of that
        pieces.erase(piece);
    } else if (before->first + before->second == begin) {
        before->second += piece->second;
        pieces.erase(piece);
    }
}

void KeptState::include(std::span<const Operation> operations) {
    Pieces pieces = pieces_;
    for (const Operation& operation : operations)
        if (const auto* conv = std::get_if<ShortConvArgs>(&operation); conv != nullptr && conv->l_cache > 1)
            add(pieces, reinterpret_cast<std::byte*>(conv->state),
                std::size_t{conv->l_cache - 1} * conv->out.n_cols * sizeof(float));
    std::size_t size = 0;
    for (const auto& [begin, n] : pieces) size += n;
    if (size > block_.size()) {
        // What was too small goes first, so that both never count at once.
        const std::size_t before = std::exchange(block_, OwnBlock()).size();
        try {
            block_ = OwnBlock(memory_, MemoryKind::kOwn, Purpose::kScratch, size);
        } catch (...) {
            if (before > 0) block_ = OwnBlock(memory_, MemoryKind::kOwn, Purpose::kScratch, before);
            throw;
        }
    }
    pieces_ = std::move(pieces);
}

void KeptState::keep(Health& health, api::Stream stream) const {
    std::byte* to = block_.address();
    for (const auto& [begin, size] : pieces_) {
        health.check(api::copy(to, begin, size, stream), "keeping the sequence's state");
        to += size;
    }
}

void KeptState::put_back(Health& health, api::Stream stream) const {
    const std::byte* from = block_.address();
    for (const auto& [begin, size] : pieces_) {
        health.check(api::copy(begin, from, size, stream), "putting the sequence's state back");
        from += size;
    }
}

}  // namespace lfm::gpu
