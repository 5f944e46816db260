// Memory beside which nothing may be touched. Under AddressSanitizer its redzones see to that; else unreadable pages
// lie on either side, and what alignment leaves over between holds a pattern.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lfm::gpu::emulation {

class GuardedBlock {
public:
    GuardedBlock() = default;
    /// Filled with 0xff (the first 64 MiB of larger ones). Empty when the system has no memory.
    GuardedBlock(std::size_t size, std::size_t alignment);
    ~GuardedBlock() { unmap(); }
    GuardedBlock(GuardedBlock&& from) noexcept { *this = static_cast<GuardedBlock&&>(from); }
    GuardedBlock& operator=(GuardedBlock&& from) noexcept;

    explicit operator bool() const { return data_ != nullptr; }
    std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }
    /// Whether `address` is in the block, or so near that nothing else can be there.
    bool owns(std::uintptr_t address) const;
    /// The pages that hold it and nothing else. Empty under AddressSanitizer.
    std::span<std::byte> pages() const;
    /// Whether nothing was written beside it.
    bool intact() const;
    /// Nobody may touch it from now on. Its addresses stay taken until it is destroyed.
    void revoke();

private:
    void unmap();

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::byte* mapped_ = nullptr;  // guard, block with what alignment leaves over, guard
    std::size_t mapped_size_ = 0;
};

}  // namespace lfm::gpu::emulation
