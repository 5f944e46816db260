// What lfm-bench prints: one row per test, as a Markdown table, CSV or JSON.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/model/model.h"

namespace lfm::tools {

/// One test: n_prompt tokens in batches, or n_gen one by one, after n_depth tokens of context; of each of n_parallel
/// sequences, which share steps.
struct BenchTest {
    std::uint32_t n_prompt = 0;
    std::uint32_t n_gen = 0;
    std::uint32_t n_depth = 0;
    std::uint32_t n_parallel = 1;

    std::uint32_t n_tokens() const { return (n_prompt + n_gen) * n_parallel; }
};

/// With --parallel: n_prompt tokens of each sequence after n_depth, then n_gen of each.
struct ParallelTest {
    std::uint32_t n_prompt = 0, n_gen = 0, n_depth = 0, n_parallel = 1;
};

/// Everything a row says. Times are of whole repetitions.
struct BenchResult {
    BenchTest test;
    std::vector<double> seconds;  // one per repetition
    double read_bandwidth = 0;    // bytes a second: median of measurements between the repetitions; 0: not measured
    double bytes_per_token = 0;   // weights a decoded token reads
    double expert_bytes_per_token = 0;  // of them, experts'
    double predicted = 0;               // tokens a second; 0: not predicted
    // With a device.
    std::optional<double> hit_rate;  // share of expert uses that the device held; nothing: no experts
    double bus_bytes_per_token = 0;  // bytes of experts copied to the device
    Bytes vram_peak;                 // so far
    /// The kernels of one decode step on the device with the launches of each, and whether they were handed over as one
    /// graph. Only for tests that decode, on a device that counts them.
    struct Nodes {
        std::vector<std::pair<std::string, std::uint32_t>> kernels;
        std::uint32_t total = 0;
        bool is_graph = false;
    };
    std::optional<Nodes> nodes;
    std::vector<std::string> device_remarks;  // where it went a slower way than it could
    std::string test_time;                    // ISO 8601, UTC
};

/// kVirtual: a simulated device's time, by the figures of its profile.
enum class BenchTime { kMeasured, kVirtual };

/// What holds for all rows.
struct BenchSetup {
    std::string model_filename;  // or the shape
    std::string model_type;
    Bytes model_size;
    std::uint64_t model_n_params = 0;
    std::string backend = "CPU";  // or that of the device beside it
    std::string device;           // empty: none
    Bytes vram_budget;
    std::uint32_t n_layers_on_device = 0;
    /// Launches handed over to the device and not yet done: the most that the runtime allows, and the number at which
    /// the driver blocks. 0: no bound.
    std::uint32_t queue_limit = 0, driver_queue = 0;
    std::vector<std::string> passed_over;  // devices that would have been taken before this one, and why not
    BenchTime time = BenchTime::kMeasured;
    std::string arithmetic = "run";  // "skip": times without results
    std::string cpu_info;
    std::string kernels;
    std::string routing;
    std::string type_k, type_v;
    std::uint32_t n_batch = 0;
    std::uint32_t n_threads = 0;
    bool is_parallel = false;  // sequences were counted: the table is llama-batched-bench's
};

enum class BenchFormat { kMarkdown, kCsv, kJson };

void print_bench(std::ostream& out, BenchFormat format, const BenchSetup& setup,
                 const std::vector<BenchResult>& results);

}  // namespace lfm::tools
