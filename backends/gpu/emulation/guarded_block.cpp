#include "backends/gpu/emulation/guarded_block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace lfm::gpu::emulation {

namespace {

constexpr int kUnwritten = 0xff;
constexpr std::size_t kMostFilled = std::size_t{64} << 20;

[[maybe_unused]] constexpr std::byte kBeside{0xa7};

// On either side: kernels stride past an end by more than a page. A multiple of the page.
[[maybe_unused]] constexpr std::size_t kGuard = 64 << 10;

[[maybe_unused]] bool is_pattern(const std::byte* from, const std::byte* to) {
    return std::all_of(from, to, [](std::byte byte) { return byte == kBeside; });
}

}  // namespace

GuardedBlock& GuardedBlock::operator=(GuardedBlock&& from) noexcept {
    std::swap(data_, from.data_);
    std::swap(size_, from.size_);
    std::swap(mapped_, from.mapped_);
    std::swap(mapped_size_, from.mapped_size_);
    return *this;
}

bool GuardedBlock::owns(std::uintptr_t address) const {
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped_ != nullptr ? mapped_ : data_);
    return address >= begin && address - begin < (mapped_ != nullptr ? mapped_size_ : size_);
}

#if defined(__SANITIZE_ADDRESS__)

GuardedBlock::GuardedBlock(std::size_t size, std::size_t alignment) {
    void* memory = nullptr;
    if (::posix_memalign(&memory, alignment, size) != 0) return;
    data_ = static_cast<std::byte*>(memory);
    size_ = size;
    std::memset(data_, kUnwritten, std::min(size, kMostFilled));
}

bool GuardedBlock::intact() const { return true; }

std::span<std::byte> GuardedBlock::pages() const { return {}; }

void GuardedBlock::revoke() { unmap(); }

void GuardedBlock::unmap() {
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
}

#else

GuardedBlock::GuardedBlock(std::size_t size, std::size_t alignment) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (size > std::numeric_limits<std::size_t>::max() / 2) return;
    const std::size_t aligned = (size + alignment - 1) / alignment * alignment;
    const std::size_t inner = (aligned + page - 1) / page * page;
    void* const memory =
        ::mmap(nullptr, inner + 2 * kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    mapped_ = static_cast<std::byte*>(memory);
    mapped_size_ = inner + 2 * kGuard;
    data_ = mapped_ + kGuard + inner - aligned;
    size_ = size;
    std::memset(mapped_ + kGuard, static_cast<int>(kBeside), inner - aligned);
    std::memset(data_, kUnwritten, std::min(size, kMostFilled));
    std::memset(data_ + size, static_cast<int>(kBeside), aligned - size);
    ::mprotect(mapped_, kGuard, PROT_NONE);
    ::mprotect(mapped_ + kGuard + inner, kGuard, PROT_NONE);
}

std::span<std::byte> GuardedBlock::pages() const {
    return mapped_ == nullptr ? std::span<std::byte>() : std::span(mapped_ + kGuard, mapped_size_ - 2 * kGuard);
}

bool GuardedBlock::intact() const {
    if (mapped_ == nullptr) return true;
    return is_pattern(mapped_ + kGuard, data_) && is_pattern(data_ + size_, mapped_ + mapped_size_ - kGuard);
}

void GuardedBlock::revoke() {
    if (mapped_ == nullptr) return;
    ::madvise(mapped_, mapped_size_, MADV_DONTNEED);
    ::mprotect(mapped_, mapped_size_, PROT_NONE);
}

void GuardedBlock::unmap() {
    if (mapped_ != nullptr) ::munmap(mapped_, mapped_size_);
    data_ = mapped_ = nullptr;
    size_ = mapped_size_ = 0;
}

#endif

}  // namespace lfm::gpu::emulation
