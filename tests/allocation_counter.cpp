#include "tests/allocation_counter.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace {

std::atomic<std::uint64_t> total_calls;
std::atomic<std::int64_t> live_bytes;
std::atomic<std::int64_t> most_bytes;

void* counted(void* memory) {
    if (memory == nullptr) throw std::bad_alloc();
    const auto size = static_cast<std::int64_t>(malloc_usable_size(memory));
    const std::int64_t now = live_bytes += size;
    std::int64_t most = most_bytes;
    while (now > most && !most_bytes.compare_exchange_weak(most, now)) {
    }
    ++total_calls;
    return memory;
}

void release(void* memory) {
    if (memory == nullptr) return;
    live_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
    std::free(memory);
}

}  // namespace

// Every form is replaced: a sanitizer's own forms would not match these.
void* operator new(std::size_t size) { return counted(std::malloc(size == 0 ? 1 : size)); }
void* operator new[](std::size_t size) { return ::operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    void* memory = std::malloc(size == 0 ? 1 : size);
    return memory == nullptr ? nullptr : counted(memory);
}
void* operator new[](std::size_t size, const std::nothrow_t& nothrow) noexcept { return ::operator new(size, nothrow); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    const auto unit = static_cast<std::size_t>(alignment);
    return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void* operator new[](std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace lfm::test {

AllocationCounter::AllocationCounter() : calls_before_(total_calls), bytes_before_(live_bytes) {
    most_bytes = bytes_before_;
}

std::uint64_t AllocationCounter::calls() const { return total_calls - calls_before_; }

std::uint64_t AllocationCounter::peak_bytes() const { return static_cast<std::uint64_t>(most_bytes - bytes_before_); }

}  // namespace lfm::test
