#include "tools/bench/roofline.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "planner/model/shape.h"
#include "runtime/machine/threads.h"
#include "runtime/probe/roofline.h"
#include "tools/common/build_commit.h"
#include "tools/common/model_options.h"

namespace lfm::tools {
namespace {

/// Each matrix of two members that has a megabyte or more there, in each of the types.
std::vector<RooflineMatrix> known_matrices() {
    constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kF16};
    std::vector<RooflineMatrix> matrices;
    for (const char* member : {"lfm2.5-1.2b:Q4_0", "lfm2-24b-a2b:Q4_0"}) {
        for (RooflineMatrix matrix : roofline_matrices(describe_shape(member))) {
            for (const DType type : kTypes) {
                matrix.type = type;
                matrices.push_back(matrix);
            }
        }
    }
    std::ranges::sort(matrices);
    matrices.erase(std::ranges::unique(matrices).begin(), matrices.end());
    return matrices;
}

std::vector<RooflineMatrix> asked_matrices(const BenchOptions& options) {
    if (options.shape) return roofline_matrices(describe_shape(*options.shape));
    if (options.model_file)
        return roofline_matrices(describe_file(open_model_file(*options.model_file), options.allow_unknown,
                                               Console("lfm-bench", options.verbosity)));
    return known_matrices();
}

bool is_read(const RooflineResult& result) { return result.n_tokens < cpu::kFewestUnpacked; }

/// The texts of a row: rate and limit in GB/s, or in 10^9 operations a second.
struct Cells {
    std::string type, matrix, rate, limit, share;
};

Cells cells(const RooflineResult& result) {
    const auto giga = [](double value) {
        char text[32];
        std::snprintf(text, sizeof text, "%.1f", value * 1e-9);
        return std::string(text);
    };
    const RooflineMatrix& matrix = result.matrix;
    return {std::string(dtype_name(matrix.type)), std::to_string(matrix.n_in) + " -> " + std::to_string(matrix.n_out),
            giga(result.rate), result.limit > 0 ? giga(result.limit) : "",
            result.share > 0 ? std::to_string(std::lround(100 * result.share)) + " %" : ""};
}

void print_head(BenchFormat format, std::string_view kernels, std::uint32_t n_threads) {
    if (format == BenchFormat::kCsv) write_stdout("type,n_in,n_out,n_tokens,kernels,n_threads,unit,rate,limit,share\n");
    if (format != BenchFormat::kMarkdown) return;
    write_stdout(processor_name() + ", " + std::to_string(n_threads) + " threads, kernels " + std::string(kernels) +
                 "\n\n| type  | matrix          | tokens |       rate | unit   | limit      | of it |\n"
                 "| ----- | --------------- | -----: | ---------: | ------ | ---------- | ----: |\n");
}

void print_row(BenchFormat format, std::string_view kernels, std::uint32_t n_threads, const RooflineResult& result) {
    const Cells text = cells(result);
    char row[256];
    if (format == BenchFormat::kMarkdown)
        std::snprintf(row, sizeof row, "| %-5s | %-15s | %6u | %10s | %-6s | %10s | %5s |\n", text.type.c_str(),
                      text.matrix.c_str(), result.n_tokens, text.rate.c_str(), is_read(result) ? "GB/s" : "GOP/s",
                      text.limit.c_str(), text.share.c_str());
    else
        std::snprintf(row, sizeof row, "%s,%u,%u,%u,%.*s,%u,%s,%s,%s,%.4f\n", text.type.c_str(), result.matrix.n_in,
                      result.matrix.n_out, result.n_tokens, static_cast<int>(kernels.size()), kernels.data(), n_threads,
                      is_read(result) ? "GB/s" : "GOP/s", text.rate.c_str(), text.limit.c_str(), result.share);
    write_stdout(row);
}

nlohmann::ordered_json json_row(std::string_view kernels, std::uint32_t n_threads, const RooflineResult& result) {
    return {{"build_commit", kBuildCommit},
            {"cpu_info", processor_name()},
            {"kernels", kernels},
            {"n_threads", n_threads},
            {"type", dtype_name(result.matrix.type)},
            {"n_in", result.matrix.n_in},
            {"n_out", result.matrix.n_out},
            {"n_tokens", result.n_tokens},
            {"unit", is_read(result) ? "GB/s" : "GOP/s"},
            {"rate", result.rate * 1e-9},
            {"limit", result.limit * 1e-9},
            {"share", result.share}};
}

}  // namespace

void run_roofline(const BenchOptions& options) {
    const cpu::Kernels& kernels = options.session.kernels != nullptr ? *options.session.kernels : cpu::best_kernels();
    const std::uint32_t n_threads = options.session.n_threads;
    const std::vector<RooflineMatrix> matrices = asked_matrices(options);
    if (matrices.empty())
        throw Error(ErrorCode::kUsage, "--roofline",
                    "expected a model with a matrix of a megabyte or more, found none");
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    bool begun = false;  // a table without a row would look like a result
    measure_roofline({.matrices = matrices,
                      .batches = {1, 32, 512},
                      .kernels = &kernels,
                      .n_threads = n_threads,
                      .repetitions = options.repetitions},
                     [&](const RooflineResult& result) {
                         if (!std::exchange(begun, true)) print_head(options.format, kernels.name, n_threads);
                         if (options.format == BenchFormat::kJson)
                             rows.push_back(json_row(kernels.name, n_threads, result));
                         else
                             print_row(options.format, kernels.name, n_threads, result);
                     });
    if (options.format == BenchFormat::kJson) write_stdout(rows.dump(2) + "\n");
}

}  // namespace lfm::tools
