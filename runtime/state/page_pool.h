// Which pages of keys and values are in use, and by how many. Only numbers: the memory is StatePool's.
#pragma once

#include <cassert>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

namespace lfm {

using PageId = std::uint32_t;

class PagePool {
public:
    explicit PagePool(std::uint32_t n_pages) : n_users_(n_pages, 0), free_(n_pages) {
        std::iota(free_.rbegin(), free_.rend(), PageId{0});  // low numbers are taken first
    }

    /// A page with one user; nothing when none is free.
    std::optional<PageId> take() {
        if (free_.empty()) return std::nullopt;
        const PageId page = free_.back();
        free_.pop_back();
        n_users_[page] = 1;
        return page;
    }
    void share(PageId page) {
        assert(n_users_[page] > 0);
        ++n_users_[page];
    }
    /// One user less; free when it was the last.
    void release(PageId page) noexcept {
        assert(n_users_[page] > 0);
        if (--n_users_[page] == 0) free_.push_back(page);  // within the vector's capacity
    }

    std::uint32_t n_users(PageId page) const { return n_users_[page]; }
    std::uint32_t n_free() const { return static_cast<std::uint32_t>(free_.size()); }
    std::uint32_t n_pages() const { return static_cast<std::uint32_t>(n_users_.size()); }

private:
    std::vector<std::uint32_t> n_users_;  // [n_pages]
    std::vector<PageId> free_;
};

}  // namespace lfm
