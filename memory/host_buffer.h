// Owned host memory: page-aligned, zeroed, entered in the ledger.
#pragma once

#include <cstddef>
#include <span>

#include "memory/ledger.h"

namespace lfm {

class HostBuffer {
public:
    HostBuffer() = default;
    /// Reserves `size` zero bytes; pages become resident when first written. Throws Error{kShortfall} when refused.
    HostBuffer(Ledger& ledger, Purpose purpose, std::size_t size);
    HostBuffer(HostBuffer&& other) noexcept;
    HostBuffer& operator=(HostBuffer&& other) noexcept;
    ~HostBuffer();

    std::span<std::byte> bytes() const { return {data_, size_}; }

    /// The bytes as an array; T is trivial.
    template <typename T>
    std::span<T> as() const {
        return {reinterpret_cast<T*>(data_), size_ / sizeof(T)};
    }

private:
    LedgerEntry entry_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Hands out pieces of one buffer that is sized before it is allocated: call `take` in the same order on a measuring
/// carver (no buffer) and on the real one.
class Carver {
public:
    Carver() = default;
    explicit Carver(std::span<std::byte> bytes) : bytes_(bytes) {}

    /// `count` elements, aligned to a cache line; null while measuring.
    template <typename T>
    T* take(std::size_t count) {
        const std::size_t begin = used_;
        used_ += (count * sizeof(T) + 63) / 64 * 64;
        return bytes_.empty() ? nullptr : reinterpret_cast<T*>(bytes_.data() + begin);
    }
    std::size_t used() const { return used_; }

private:
    std::span<std::byte> bytes_;
    std::size_t used_ = 0;
};

}  // namespace lfm
