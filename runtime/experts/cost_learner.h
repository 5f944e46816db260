// Compares what decode steps take with what was planned, and says what the host's experts really cost.
#pragma once

#include <cstdint>
#include <optional>

namespace lfm {

/// One decode step. Seconds.
struct MeasuredStep {
    double total = 0;
    double experts = 0;          // of the host computing its experts
    double experts_planned = 0;  // the same experts by the machine profile
};

struct Learnt {
    std::uint32_t n_steps = 0;
    double tokens_per_second = 0;
    /// What the host takes for its experts, as a multiple of what the machine profile says; nothing when it had none.
    std::optional<double> host_factor;
    /// Factor for the host's times that decisions use, on top of all earlier factors. 1: leave them.
    double change = 1;
};

/// Gives a result every kLearnedSteps steps; the first kWarmUp steps, which touch memory for the first time, do not
/// count.
class CostLearner {
public:
    static constexpr std::uint32_t kWarmUp = 8, kLearnedSteps = 100;
    /// Smaller differences are noise: nothing is changed for them.
    static constexpr double kLeastDifference = 0.15;

    std::optional<Learnt> add(const MeasuredStep& step);

private:
    std::uint32_t n_seen_ = 0, n_counted_ = 0;
    MeasuredStep sum_;
    double factor_ = 1;  // the product of all changes
};

}  // namespace lfm
