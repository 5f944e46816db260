// A queue whose places are used again, with what they own: once it has grown, nothing is allocated. A new place gets
// T::reserve().
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace lfm::sim {

template <typename T>
class Ring {
public:
    bool empty() const { return count_ == 0; }
    std::size_t size() const { return count_; }
    T& front() { return places_[first_]; }
    const T& front() const { return places_[first_]; }
    /// Counted from the front.
    T& operator[](std::size_t i) { return places_[(first_ + i) % places_.size()]; }

    /// A place at the end, as an earlier item left it. References to others may become invalid.
    T& push() {
        if (count_ == places_.size()) {
            std::rotate(places_.begin(), places_.begin() + static_cast<std::ptrdiff_t>(first_), places_.end());
            first_ = 0;
            places_.resize(std::max<std::size_t>(64, 2 * count_));
            for (std::size_t i = count_; i < places_.size(); ++i) places_[i].reserve();
        }
        return places_[(first_ + count_++) % places_.size()];
    }
    void pop() {
        first_ = (first_ + 1) % places_.size();
        if (--count_ == 0) first_ = 0;  // the first places have grown the most
    }

private:
    std::vector<T> places_;
    std::size_t first_ = 0, count_ = 0;
};

}  // namespace lfm::sim
