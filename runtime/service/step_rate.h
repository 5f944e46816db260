// What a step takes by its rows, as measured: a part that every step has, and one for each row.
#pragma once

#include <cstdint>

namespace lfm {

class StepRate {
public:
    /// Expected, until steps were measured.
    constexpr StepRate(double seconds, double seconds_per_row) : base_(seconds), per_row_(seconds_per_row) {}

    void add(std::uint32_t n_rows, double seconds);
    double seconds(std::uint32_t n_rows) const { return base_ + per_row_ * n_rows; }
    /// How many rows a step of this length has; at least one.
    std::uint32_t rows_within(double seconds) const;

private:
    double base_, per_row_;
    // Weighted sums over the steps so far; a step counts less with every one after it.
    double weight_ = 0, rows_ = 0, rows_squared_ = 0, seconds_ = 0, product_ = 0;
};

}  // namespace lfm
