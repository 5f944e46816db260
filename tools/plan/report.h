// What a report of a plan is made from, besides the plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/plan/plan.h"

namespace lfm::tools {

/// The speeds with another VRAM budget or context. No prediction: it does not fit.
struct SweepPoint {
    std::uint64_t x = 0;  // bytes or tokens
    std::optional<Prediction> decode;
    std::optional<Prediction> prefill;
};

struct PlanReport {
    const Plan& plan;
    std::string model_name;
    std::string command;                 // that runs the model as planned
    std::string verify_command;          // that measures what the plan predicts
    std::vector<SweepPoint> budgets;     // x: VRAM budget in bytes, rising; else as the plan
    std::vector<SweepPoint> contexts;    // x: n_ctx, rising; each planned anew, half of it in use
    std::optional<SweepPoint> next_gib;  // one GiB of VRAM more
};

}  // namespace lfm::tools
