// Memory whose next byte faults: catches reads past the end.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace lfm::test {

/// `count` values that end where an unreadable page begins; as unaligned as their size makes them.
template <typename T>
class Guarded {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    explicit Guarded(std::size_t count) : count_(count) {
        const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t bytes = count * sizeof(T), usable = (bytes + page - 1) / page * page;
        mapped_ = usable + page;
        void* map = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) throw std::runtime_error("mmap");
        map_ = static_cast<std::byte*>(map);
        if (mprotect(map_ + usable, page, PROT_NONE) != 0) throw std::runtime_error("mprotect");
        data_ = reinterpret_cast<T*>(map_ + usable - bytes);
    }
    explicit Guarded(std::span<const T> values) : Guarded(values.size()) {
        if (!values.empty()) std::memcpy(data_, values.data(), values.size_bytes());
    }
    Guarded(Guarded&& other) noexcept
        : map_(std::exchange(other.map_, nullptr)), mapped_(other.mapped_), data_(other.data_), count_(other.count_) {}
    Guarded& operator=(Guarded&&) = delete;
    ~Guarded() {
        if (map_) munmap(map_, mapped_);
    }

    T* data() { return data_; }
    std::span<T> span() { return {data_, count_}; }
    T& operator[](std::size_t i) { return data_[i]; }

private:
    std::byte* map_ = nullptr;
    std::size_t mapped_ = 0;
    T* data_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace lfm::test
