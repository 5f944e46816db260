// The one checked-arithmetic type: numbers read from files are added and multiplied only through it.
#pragma once

#include <cstdint>
#include <optional>

namespace lfm {

/// An unsigned 64-bit number, or "overflowed". Overflow sticks: check once, at the end.
class CheckedU64 {
public:
    constexpr CheckedU64(std::uint64_t value) : value_(value) {}

    friend constexpr CheckedU64 operator+(CheckedU64 a, CheckedU64 b) {
        CheckedU64 sum{0};
        sum.overflowed_ = __builtin_add_overflow(a.value_, b.value_, &sum.value_) || a.overflowed_ || b.overflowed_;
        return sum;
    }
    friend constexpr CheckedU64 operator*(CheckedU64 a, CheckedU64 b) {
        CheckedU64 product{0};
        product.overflowed_ =
            __builtin_mul_overflow(a.value_, b.value_, &product.value_) || a.overflowed_ || b.overflowed_;
        return product;
    }
    /// Rounded up to a multiple of `alignment` (a power of two).
    constexpr CheckedU64 aligned(std::uint64_t alignment) const {
        CheckedU64 sum = *this + CheckedU64{alignment - 1};
        sum.value_ &= ~(alignment - 1);
        return sum;
    }

    constexpr std::optional<std::uint64_t> value() const {
        return overflowed_ ? std::nullopt : std::optional<std::uint64_t>{value_};
    }
    /// True when the number is known and at most `limit`.
    constexpr bool at_most(std::uint64_t limit) const { return !overflowed_ && value_ <= limit; }

private:
    std::uint64_t value_;
    bool overflowed_ = false;
};

}  // namespace lfm
