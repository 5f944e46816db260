// What lfm-bench prints: one row per test, as a Markdown table, CSV or JSON.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "planner/model.h"

namespace lfm::tools {

/// One test: n_prompt tokens in batches, or n_gen one by one, after n_depth tokens of context.
struct BenchTest {
    std::uint32_t n_prompt = 0;
    std::uint32_t n_gen = 0;
    std::uint32_t n_depth = 0;
};

/// Everything a row says. Times are of whole repetitions.
struct BenchResult {
    BenchTest test;
    std::vector<double> seconds;  // one per repetition
    double read_bandwidth = 0;    // bytes a second: median of measurements between the repetitions; 0: not measured
    double bytes_per_token = 0;   // weights a decoded token reads
    double predicted = 0;         // tokens a second; 0: no profile of this machine
    std::string test_time;        // ISO 8601, UTC
};

/// What holds for all rows.
struct BenchSetup {
    std::string model_filename;  // or the shape
    std::string model_type;
    Bytes model_size;
    std::uint64_t model_n_params = 0;
    std::string cpu_info;
    std::string kernels;
    std::string routing;
    std::string type_k, type_v;
    std::uint32_t n_batch = 0;
    std::uint32_t n_threads = 0;
};

enum class BenchFormat { kMarkdown, kCsv, kJson };

void print_bench(std::ostream& out, BenchFormat format, const BenchSetup& setup,
                 const std::vector<BenchResult>& results);

}  // namespace lfm::tools
