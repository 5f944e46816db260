#include "tools/bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <ostream>

#include <nlohmann/json.hpp>

#include "tools/common/build_commit.h"

namespace lfm::tools {
namespace {

struct Statistics {
    double mean = 0;
    double deviation = 0;  // of the sample
};

Statistics statistics(const std::vector<double>& values) {
    Statistics result;
    const auto n = static_cast<double>(values.size());
    result.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    if (values.size() < 2) return result;
    double squares = 0;
    for (const double value : values) squares += (value - result.mean) * (value - result.mean);
    result.deviation = std::sqrt(squares / (n - 1));
    return result;
}

std::vector<double> rates(const BenchResult& result) {
    std::vector<double> values;
    for (const double seconds : result.seconds) values.push_back(result.test.n_tokens() / seconds);
    return values;
}

/// Bytes of weights read per second while decoding one sequence; else 0, as tokens of one step share the reading.
double achieved(const BenchResult& result) {
    if (result.test.n_gen == 0 || result.test.n_parallel > 1) return 0;
    return result.bytes_per_token * statistics(rates(result)).mean;
}

std::string test_name(const BenchTest& test) {
    std::string name = test.n_gen > 0 ? "tg" + std::to_string(test.n_gen) : "pp" + std::to_string(test.n_prompt);
    if (test.n_depth > 0) name += " @ d" + std::to_string(test.n_depth);
    return name;
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
    char text[256];
    std::snprintf(text, sizeof text, pattern, values...);
    return text;
}

const char* time_name(BenchTime time) { return time == BenchTime::kVirtual ? "virtual" : "measured"; }

/// How many launches each kernel has in a step of one token.
nlohmann::ordered_json kernels_of(const BenchResult& result) {
    nlohmann::ordered_json kernels = nlohmann::ordered_json::object();
    if (!result.nodes) return kernels;
    for (const auto& [kernel, n] : result.nodes->kernels) kernels[kernel] = n;
    return kernels;
}

nlohmann::ordered_json number_or_null(std::uint32_t value) {
    return value > 0 ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

std::vector<std::string> device_remarks(const BenchSetup& setup, const BenchResult& result) {
    std::vector<std::string> all = setup.passed_over;
    all.insert(all.end(), result.device_remarks.begin(), result.device_remarks.end());
    return all;
}

nlohmann::ordered_json row(const BenchSetup& setup, const BenchResult& result) {
    std::vector<std::int64_t> samples_ns;
    for (const double seconds : result.seconds) samples_ns.push_back(std::llround(seconds * 1e9));
    const Statistics time = statistics(result.seconds);
    const Statistics rate = statistics(rates(result));
    return {
        {"build_commit", kBuildCommit},
        {"cpu_info", setup.cpu_info},
        {"gpu_info", setup.device},
        {"backends", setup.backend},
        {"model_filename", setup.model_filename},
        {"model_type", setup.model_type},
        {"model_size", setup.model_size.value},
        {"model_n_params", setup.model_n_params},
        {"n_batch", setup.n_batch},
        {"n_ubatch", setup.n_batch},
        {"n_threads", setup.n_threads},
        {"type_k", setup.type_k},
        {"type_v", setup.type_v},
        {"n_gpu_layers", setup.n_layers_on_device},
        {"n_prompt", result.test.n_prompt},
        {"n_gen", result.test.n_gen},
        {"n_depth", result.test.n_depth},
        {"n_parallel", result.test.n_parallel},
        {"test_time", result.test_time},
        {"avg_ns", std::llround(time.mean * 1e9)},
        {"stddev_ns", std::llround(time.deviation * 1e9)},
        {"avg_ts", rate.mean},
        {"stddev_ts", rate.deviation},
        {"samples_ns", samples_ns},
        {"samples_ts", rates(result)},
        // Beyond llama-bench's keys.
        {"kernels", setup.kernels},
        {"routing", setup.routing},
        {"weight_bytes_per_token", std::llround(result.bytes_per_token)},
        {"expert_bytes_per_token", std::llround(result.expert_bytes_per_token)},
        {"achieved_gb_per_s", achieved(result) / 1e9},
        {"read_bandwidth_gb_per_s", result.read_bandwidth / 1e9},
        {"bandwidth_share", result.read_bandwidth > 0 ? achieved(result) / result.read_bandwidth : 0.0},
        {"predicted_ts", result.predicted},
        {"backend", setup.backend},
        {"device", setup.device},
        {"time", time_name(setup.time)},
        {"arithmetic", setup.arithmetic},
        {"vram_budget", setup.vram_budget.value},
        {"vram_peak", result.vram_peak.value},
        {"hit_rate", result.hit_rate ? nlohmann::ordered_json(*result.hit_rate) : nlohmann::ordered_json()},
        {"bus_bytes_per_token", std::llround(result.bus_bytes_per_token)},
        {"decode_nodes", result.nodes ? nlohmann::ordered_json(result.nodes->total) : nlohmann::ordered_json()},
        {"graph", result.nodes ? nlohmann::ordered_json(result.nodes->is_graph) : nlohmann::ordered_json()},
        {"decode_kernels", kernels_of(result)},
        {"queue_limit", number_or_null(setup.queue_limit)},
        {"driver_queue", number_or_null(setup.driver_queue)},
        {"device_remarks", device_remarks(setup, result)},
    };
}

/// What a device adds to a row, after llama-bench's columns and ours.
std::string device_cells(const BenchSetup& setup, const BenchResult& result) {
    if (setup.device.empty()) return "";
    return format(" %-8s | %-40s | %11s | %10s | %6s | %8s |", time_name(setup.time), setup.device.c_str(),
                  format_bytes(setup.vram_budget).c_str(), format_bytes(result.vram_peak).c_str(),
                  result.hit_rate ? format("%.1f %%", 100 * *result.hit_rate).c_str() : "",
                  format("%.2f", result.bus_bytes_per_token / 1e6).c_str());
}

/// "1.17 B", "354.48 M", "26.30 K".
std::string parameters_text(std::uint64_t n) {
    const auto number = static_cast<double>(n);
    if (n >= 1'000'000'000) return format("%.2f B", number / 1e9);
    if (n >= 1'000'000) return format("%.2f M", number / 1e6);
    return format("%.2f K", number / 1e3);
}

void print_markdown(std::ostream& out, const BenchSetup& setup, const std::vector<BenchResult>& results) {
    out << "| model                          |       size |     params | backend | threads |            test |         "
           "         t/s | predicted |   GB/s | RAM GB/s | share |";
    if (!setup.device.empty())
        out << " time     | device                                   | VRAM budget |  VRAM peak |   hits |     MB/t |";
    out << "\n| ------------------------------ | ---------: | ---------: | ------- | ------: | --------------: | "
           "-------------------: | --------: | -----: | -------: | ----: |";
    if (!setup.device.empty())
        out << " -------- | ---------------------------------------- | ----------: | ---------: | -----: | -------: |";
    out << '\n';
    for (const BenchResult& result : results) {
        const Statistics rate = statistics(rates(result));
        const double used = achieved(result);
        const bool bounded = used > 0 && result.read_bandwidth > 0;
        out << format("| %-30s | %10s | %10s | %-7s | %7u | %15s | %20s | %9s | %6s | %8s | %5s |",
                      setup.model_type.c_str(), format_bytes(setup.model_size).c_str(),
                      parameters_text(setup.model_n_params).c_str(), setup.backend.c_str(), setup.n_threads,
                      test_name(result.test).c_str(), format("%.2f ± %.2f", rate.mean, rate.deviation).c_str(),
                      result.predicted > 0 ? format("%.2f", result.predicted).c_str() : "",
                      used > 0 ? format("%.1f", used / 1e9).c_str() : "",
                      bounded ? format("%.1f", result.read_bandwidth / 1e9).c_str() : "",
                      bounded ? format("%.0f %%", 100 * used / result.read_bandwidth).c_str() : "")
            << device_cells(setup, result) << '\n';
    }
    if (setup.time == BenchTime::kVirtual)
        out << "\nTimes are virtual: those of a simulated machine, by the figures of its profile"
            << (setup.arithmetic == "skip" ? "; nothing was computed" : "") << ".\n";
}

/// llama-batched-bench's columns: a row for each number of sequences. Means of the repetitions.
void print_parallel(std::ostream& out, const BenchSetup& setup, const std::vector<BenchResult>& results) {
    out << "| model                          | backend | threads |    PP |    TG |    B |    N_KV |    T_PP s |  S_PP "
           "t/s "
           "|    T_TG s |  S_TG t/s |       T s |     S t/s |\n"
           "| ------------------------------ | ------- | ------: | ----: | ----: | ---: | ------: | --------: | "
           "--------: "
           "| --------: | --------: | --------: | --------: |\n";
    for (std::size_t i = 0; i < results.size(); ++i) {
        const BenchResult* prompts = results[i].test.n_prompt > 0 ? &results[i] : nullptr;
        const bool goes_on = prompts != nullptr && i + 1 < results.size() && results[i + 1].test.n_gen > 0 &&
                             results[i + 1].test.n_parallel == results[i].test.n_parallel;
        const BenchResult* tokens = prompts == nullptr ? &results[i] : goes_on ? &results[++i] : nullptr;
        const auto seconds = [](const BenchResult* result) {
            return result != nullptr ? statistics(result->seconds).mean : 0;
        };
        const auto n_of = [](const BenchResult* result) { return result != nullptr ? result->test.n_tokens() : 0; };
        const auto rate = [](double n, double time) { return time > 0 ? n / time : 0; };
        const BenchTest& last = (tokens != nullptr ? tokens : prompts)->test;
        const std::uint32_t n_prompt = n_of(prompts), n_gen = n_of(tokens);
        const double before = seconds(prompts), after = seconds(tokens);
        out << format(
            "| %-30s | %-7s | %7u | %5u | %5u | %4u | %7u | %9.3f | %9.2f | %9.3f | %9.2f | %9.3f | %9.2f |\n",
            setup.model_type.c_str(), setup.backend.c_str(), setup.n_threads, n_prompt / last.n_parallel,
            n_gen / last.n_parallel, last.n_parallel, (last.n_depth + last.n_prompt + last.n_gen) * last.n_parallel,
            before, rate(n_prompt, before), after, rate(n_gen, after), before + after,
            rate(n_prompt + n_gen, before + after));
    }
}

void print_csv(std::ostream& out, const BenchSetup& setup, const std::vector<BenchResult>& results) {
    bool header = true;
    for (const BenchResult& result : results) {
        const auto json = row(setup, result);
        std::string names, values;
        for (const auto& [key, value] : json.items()) {
            if (value.is_structured()) continue;
            const char* comma = names.empty() ? "" : ",";
            names += comma + key;
            // Quoted throughout, quotes doubled.
            std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
            for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '"');
            values += comma + ("\"" + text + "\"");
        }
        if (header) out << names << '\n';
        header = false;
        out << values << '\n';
    }
}

}  // namespace

void print_bench(std::ostream& out, BenchFormat format_wanted, const BenchSetup& setup,
                 const std::vector<BenchResult>& results) {
    switch (format_wanted) {
        case BenchFormat::kMarkdown: (setup.is_parallel ? print_parallel : print_markdown)(out, setup, results); break;
        case BenchFormat::kCsv: print_csv(out, setup, results); break;
        case BenchFormat::kJson: {
            auto rows = nlohmann::ordered_json::array();
            for (const BenchResult& result : results) rows.push_back(row(setup, result));
            out << rows.dump(2) << '\n';
            break;
        }
    }
}

}  // namespace lfm::tools
