#include "runtime/experts/use_forecast.h"

#include <algorithm>
#include <cmath>

namespace lfm {

UseForecast::UseForecast(std::span<const double> use, const ForecastOptions& options)
    : options_(options),
      frequency_(use.begin(), use.end()),
      recent_(frequency_),
      last_(frequency_),
      now_(use.size()),
      n_tokens_(options.prior_tokens),
      long_decay_(std::exp2(-1 / options.long_half_life)),
      short_decay_(std::exp2(-1 / options.short_half_life)),
      ridge_(0) {
    for (const double f : use) ridge_ += options.prior_steps * f;
    ridge_ = std::max(ridge_, 1.0);
    fit();
}

void UseForecast::add_step(std::span<const ExpertUse> uses, std::uint32_t n_tokens) {
    if (n_tokens == 0) return;
    std::ranges::fill(now_, 0);
    for (const ExpertUse& use : uses) now_[use.expert] += static_cast<double>(use.n_tokens) / n_tokens;
    // Within a step of many tokens it is not known which followed which.
    if (n_tokens == 1 && last_was_one_token_) learn();
    last_was_one_token_ = n_tokens == 1;
    const double kept_long = n_tokens == 1 ? long_decay_ : std::pow(long_decay_, n_tokens);
    const double kept_short = n_tokens == 1 ? short_decay_ : std::pow(short_decay_, n_tokens);
    // The tokens of a step count alike, however many: their weights add up to what single steps would.
    const double added = (1 - kept_long) / (1 - long_decay_);
    n_tokens_ = n_tokens_ * kept_long + added;
    const double share = added / n_tokens_;
    for (std::size_t e = 0; e < now_.size(); ++e) {
        frequency_[e] += share * (now_[e] - frequency_[e]);
        recent_[e] = kept_short * recent_[e] + (1 - kept_short) * now_[e];
    }
    std::swap(last_, now_);
}

void UseForecast::learn() {
    double xx = 0, xz = 0, zz = 0, xy = 0, zy = 0;
    for (std::size_t e = 0; e < now_.size(); ++e) {
        const double x = last_[e] - frequency_[e], z = recent_[e] - frequency_[e], y = now_[e] - frequency_[e];
        xx += x * x, xz += x * z, zz += z * z, xy += x * y, zy += z * y;
    }
    xx_ = xx_ * long_decay_ + xx;
    xz_ = xz_ * long_decay_ + xz;
    zz_ = zz_ * long_decay_ + zz;
    xy_ = xy_ * long_decay_ + xy;
    zy_ = zy_ * long_decay_ + zy;
    fit();
}

/// Least squares with the prior as a ridge, under a, b >= 0 and a + b < 1.
void UseForecast::fit() {
    const double xx = xx_ + ridge_, zz = zz_ + ridge_, xy = xy_ + ridge_ * options_.locality;
    const double determinant = xx * zz - xz_ * xz_;  // > 0, thanks to the ridge
    a_ = (xy * zz - zy_ * xz_) / determinant;
    b_ = (zy_ * xx - xy * xz_) / determinant;
    if (b_ < 0) a_ = xy / xx, b_ = 0;
    if (a_ < 0) b_ = std::max(0.0, zy_ / zz), a_ = 0;
    constexpr double kMost = 0.98;
    const double sum = a_ + b_;
    if (sum > kMost) a_ *= kMost / sum, b_ *= kMost / sum;
}

double UseForecast::independent_tokens() const {
    // Exponential weights count twice their sum; of a chain that keeps a share s, (1 - s) / (1 + s) is independent.
    const double s = a_ + b_;
    return 2 * n_tokens_ * (1 - s) / (1 + s);
}

double UseForecast::next(std::size_t expert) const { return frequency_[expert] + extra(expert, {a_, b_}); }

// With x = u - f, z = m - f and d the decay of m, the next step's expectations are x' = a x + b z and
// z' = d z + (1 - d) x'. The sum of x', x'', … is (a x + b z / (1 - d)) / (1 - a - b).
UseForecast::Weights UseForecast::extra_weights(std::uint32_t step) const {
    const double rest = 1 - a_ - b_;
    Weights weights{a_ / rest, b_ / ((1 - short_decay_) * rest)};
    for (std::uint32_t i = 1; i < step; ++i) {
        const double into = weights.last + (1 - short_decay_) * weights.recent;
        weights = {into * a_, into * b_ + weights.recent * short_decay_};
    }
    return weights;
}

double UseForecast::extra_after_use(std::uint32_t step) const {
    const Weights weights = extra_weights(step);
    return weights.last + (1 - short_decay_) * weights.recent;
}

}  // namespace lfm
