// How unevenly a model's experts are expected to be used: what lfm-plan, lfm-run and lfm-bench plan for.
#pragma once

#include <optional>
#include <string>

#include "planner/model/routing.h"
#include "tools/common/option_values.h"

namespace lfm::tools {

struct ExpectedUse {
    std::optional<std::string> counts_file;  // of lfm-eval routing; else by skew and locality
    double skew = 0, locality = 0;
    /// Whether any of the options was given.
    bool is_given = false;
};

/// --routing, --skew, --locality.
po::options_description expected_use_options();

/// Throws Error{kUsage}, also for counts beside skew or locality.
ExpectedUse expected_use(const po::variables_map& values);

/// Nothing: uniform. Throws Error{kUsage} when options are given for a model without experts, and what reading the
/// file throws.
std::optional<Routing> routing_of(const ExpectedUse& use, const HyperParameters& hyper);

}  // namespace lfm::tools
