#include "runtime/experts/cost_learner.h"

#include <cmath>

namespace lfm {

std::optional<Learnt> CostLearner::add(const MeasuredStep& step) {
    if (n_seen_++ < kWarmUp) return std::nullopt;
    sum_.total += step.total;
    sum_.experts += step.experts;
    sum_.experts_planned += step.experts_planned;
    if (++n_counted_ < kLearnedSteps) return std::nullopt;
    Learnt learnt{.n_steps = n_counted_, .tokens_per_second = sum_.total > 0 ? n_counted_ / sum_.total : 0};
    if (sum_.experts > 0 && sum_.experts_planned > 0) {
        learnt.host_factor = sum_.experts / sum_.experts_planned;
        if (std::abs(*learnt.host_factor / factor_ - 1) >= kLeastDifference) {
            learnt.change = *learnt.host_factor / factor_;
            factor_ = *learnt.host_factor;
        }
    }
    n_counted_ = 0;
    sum_ = {};
    return learnt;
}

}  // namespace lfm
