#include "runtime/service/step_rate.h"

#include <algorithm>
#include <limits>

namespace lfm {

void StepRate::add(std::uint32_t n_rows, double seconds) {
    constexpr double kFade = 0.95;  // of the weight of what came before: about the last twenty steps count
    const double n = n_rows;
    weight_ = weight_ * kFade + 1;
    rows_ = rows_ * kFade + n;
    rows_squared_ = rows_squared_ * kFade + n * n;
    seconds_ = seconds_ * kFade + seconds;
    product_ = product_ * kFade + n * seconds;
    const double mean = rows_ / weight_, mean_seconds = seconds_ / weight_;
    const double variance = rows_squared_ / weight_ - mean * mean;
    // Steps of nearly the same size do not say what a row costs: then all of it is taken for the rows', which errs to
    // shorter steps, and the next, larger one tells.
    constexpr double kLeastSpread = 0.1;
    if (variance < kLeastSpread * mean * kLeastSpread * mean) {
        per_row_ = mean_seconds / mean;
        base_ = 0;
        return;
    }
    const double slope = (product_ / weight_ - mean * mean_seconds) / variance;
    per_row_ = std::clamp(slope, 0.0, mean_seconds / mean);
    base_ = mean_seconds - per_row_ * mean;
}

std::uint32_t StepRate::rows_within(double seconds) const {
    if (per_row_ <= 0) return std::numeric_limits<std::uint32_t>::max();
    const double rows = (seconds - base_) / per_row_;
    return rows < 1 ? 1 : rows > 1e9 ? std::numeric_limits<std::uint32_t>::max() : static_cast<std::uint32_t>(rows);
}

}  // namespace lfm
