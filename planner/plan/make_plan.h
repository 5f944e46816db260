// From a model, a machine and budgets to a plan, or to the reason why there is none.
#pragma once

#include <optional>
#include <variant>

#include "planner/machine/machine.h"
#include "planner/model/routing.h"
#include "planner/plan/plan.h"

namespace lfm {

struct PlanRequest {
    SessionSizes sizes;
    std::optional<Bytes> vram_budget;    // nothing: all that is free; 0: the CPU alone
    std::optional<Bytes> ram_budget;     // nothing: nine tenths of the installed memory
    std::optional<std::uint32_t> depth;  // tokens in the context to predict for; nothing: half of n_ctx
    std::optional<Routing> routing;      // nothing: uniform
    std::size_t device = 0;              // of the machine's devices, which one; the others are not used
};

/// Nothing fits: which memory is too small, and by how much.
struct Shortfall {
    DeviceId device;
    Bytes needed, available;
    std::string reason;  // one sentence
};

/// The expectation over routing takes time in the cube of a token's experts; the family's models have 4.
inline constexpr std::uint32_t kMostExpertsUsed = 64;

/// At most 50 ms for 40 layers of 64 experts. Throws Error{kInvalidInput} for a machine without the figures it needs,
/// Error{kUnsupportedModel} for more than kMostExpertsUsed experts a token.
std::variant<Plan, Shortfall> make_plan(const ModelDescription& model, const MachineProfile& machine,
                                        const PlanRequest& request);

/// One plan per budget, from one search; the same results as make_plan.
std::vector<std::variant<Plan, Shortfall>> make_plans(const ModelDescription& model, const MachineProfile& machine,
                                                      const PlanRequest& request,
                                                      const std::vector<Bytes>& vram_budgets);

}  // namespace lfm
