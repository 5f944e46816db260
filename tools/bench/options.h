// What lfm-bench was asked for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/experts/routing_trace.h"
#include "runtime/session/session.h"
#include "runtime/step/simulation.h"
#include "tools/bench/report.h"
#include "tools/common/device_choice.h"

namespace lfm::tools {

enum class BenchAction { kRun, kRoofline, kHelp, kVersion };

struct BenchOptions {
    BenchAction action = BenchAction::kRun;
    std::optional<std::string> model_file, shape;  // one of them; of kRoofline one or none
    std::vector<std::string> allow_unknown;
    std::vector<BenchTest> tests;              // at least one; empty with --parallel
    std::vector<ParallelTest> parallel_tests;  // with --parallel at least one, else empty
    std::uint32_t repetitions = 1;
    bool warmup = true;
    /// Nothing: the router chooses.
    std::optional<RoutingTraceSpec> routing;
    std::string routing_text;
    std::optional<std::string> counts_file;  // how often each expert is used, to plan with
    std::string routing_option;              // that set any of these three; empty: none
    DeviceRequest device;
    SimulatedArithmetic arithmetic =
        SimulatedArithmetic::kRun;  // kSkip: a simulated device only, never with the router
    SessionOptions session;         // large enough for every test
    BenchFormat format = BenchFormat::kMarkdown;
    std::optional<std::string> trace_file;
    std::vector<std::string> files_read;  // which the trace must not replace
    Verbosity verbosity = Verbosity::kNormal;
};

po::options_description bench_options();

/// Throws Error{kUsage}.
BenchOptions parse_bench_options(const std::vector<std::string>& arguments);

}  // namespace lfm::tools
