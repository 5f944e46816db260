// The commands that run a model as it was planned, and measure what was predicted.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/plan/plan.h"
#include "tools/common/expected_use.h"

namespace lfm::tools {

/// What shaped the plan and is not in it.
struct PlannedBy {
    std::optional<std::string> model_file;  // else the shape
    std::string shape;
    std::vector<std::string> profiles;  // empty: this machine's
    std::size_t device = 0;             // as --device counts
    std::optional<Bytes> ram_budget;    // nothing: the default
    std::uint32_t n_batch = 512;        // as asked for
    ExpectedUse use;
};

struct PlanCommands {
    std::string run, verify;
};
/// For a shell, every word quoted that needs it; each gives the same plan again on the same machine.
PlanCommands plan_commands(const Plan& plan, const PlannedBy& by);

/// "a" as it is, "a b" as "'a b'".
std::string shell_quoted(const std::string& word);

}  // namespace lfm::tools
