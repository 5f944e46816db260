#include "backends/sim/host_time.h"

#include <algorithm>

namespace lfm::sim {

double HostTime::experts(const Operation& operation, const ExpertFfnArgs& args, const StepParams& step) {
    n_tokens_.assign(args.experts->n_expert(), 0);
    bool others_travel = false;
    for (std::uint32_t i = 0; i < step.n_tokens * args.n_expert_used; ++i) {
        const auto expert = static_cast<std::uint32_t>(args.choice.ids[i]);
        if (args.staged.slot_of != nullptr && args.staged.slot_of[expert] >= 0)
            others_travel = true;
        else if ((*args.experts)[{args.layer, expert}].holder == kHost)
            ++n_tokens_[expert];
    }
    // A layer whose experts are all elsewhere costs a look at the choice.
    if (std::ranges::all_of(n_tokens_, [](std::uint32_t n) { return n == 0; })) return 0;
    return operation_seconds(rates_.processor, operation, step, n_tokens_) * (others_travel ? rates_.slowdown : 1);
}

double HostTime::seconds(std::span<const Operation> operations, const StepParams& step) {
    double seconds = 0;
    for (const Operation& operation : operations) {
        const auto* args = std::get_if<ExpertFfnArgs>(&operation);
        seconds += args != nullptr ? experts(operation, *args, step)
                                   : operation_seconds(rates_.processor, operation, step, {});
    }
    return seconds;
}

}  // namespace lfm::sim
