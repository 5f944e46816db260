// A copy of what a step advances in place, the state of short convolutions: so that a step that stalled can be done
// again. Keys and values need none: they are written where the step before wrote them.
#pragma once

#include <cstddef>
#include <map>

#include "backends/backend.h"
#include "backends/gpu/memory.h"

namespace lfm::gpu {

class KeptState {
public:
    explicit KeptState(Memory& memory) : memory_(memory) {}

    /// What the operations advance is kept from now on. Nothing may be running. Throws Error{kShortfall}; then all is
    /// as before.
    void include(std::span<const Operation> operations);
    /// Nothing is kept any more. Memory stays for what is included next.
    void clear() noexcept { pieces_.clear(); }
    /// Enqueue copies: from where it lies, and back.
    void keep(Health& health, api::Stream stream) const;
    void put_back(Health& health, api::Stream stream) const;

private:
    /// Pieces that lie side by side are one.
    using Pieces = std::map<std::byte*, std::size_t>;
    static void add(Pieces& pieces, std::byte* begin, std::size_t size);

    Memory& memory_;
    Pieces pieces_;
    OwnBlock block_;
};

}  // namespace lfm::gpu
