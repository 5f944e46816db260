// lfm-bench: prefill and decode speed, beside the memory bandwidth measured in the same run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "planner/shape.h"
#include "runtime/bandwidth.h"
#include "runtime/probe.h"
#include "runtime/threads.h"
#include "tools/bench_prediction.h"
#include "tools/bench_report.h"
#include "tools/machine_cache.h"
#include "tools/model_options.h"
#include "tools/profile_files.h"

namespace lfm::tools {
namespace {

constexpr std::size_t kBandwidthBytes = std::size_t{1} << 30;  // at most, of the weights, for one measurement

std::vector<std::uint32_t> parse_list(const po::variables_map& values, const char* option) {
    std::vector<std::uint32_t> numbers;
    std::string text = values[option].as<std::string>();
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const std::string part = text.substr(at, end - at);
        char* rest = nullptr;
        const unsigned long number = std::strtoul(part.c_str(), &rest, 10);
        if (part.empty() || *rest != '\0' || part[0] == '-' || number > 1u << 24)
            throw Error(ErrorCode::kUsage, std::string("--") + option,
                        "expected numbers with commas between, found " + text);
        numbers.push_back(static_cast<std::uint32_t>(number));
        at = end + 1;
    }
    return numbers;
}

/// A well-mixed number for each argument (the finaliser of MurmurHash3).
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

/// Distinct experts, every one equally likely: what a token meets when nothing is known about the text.
ExpertSource uniform_routing(std::uint32_t n_expert) {
    return [n_expert](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
        const std::uint64_t key = (std::uint64_t{layer} << 32 | position) * 64;
        std::vector<std::uint32_t> chosen;
        for (std::uint32_t j = 0; j <= choice; ++j) {
            auto expert = static_cast<std::uint32_t>(mix(key + j) % n_expert);
            while (std::ranges::find(chosen, expert) != chosen.end()) expert = (expert + 1) % n_expert;
            chosen.push_back(expert);
        }
        return static_cast<std::int32_t>(chosen.back());
    };
}

class Bench {
public:
    Bench(Model model, const SessionOptions& options, Ledger& ledger)
        : model_(std::move(model)), options_(options), ledger_(ledger) {
        if (model_.data().size() < kLeastMemoryForBandwidth) {
            buffer_ = HostBuffer(ledger, Purpose::kScratch, kLeastMemoryForBandwidth);
            std::memset(buffer_.bytes().data(), 1, buffer_.bytes().size());  // pages of its own, not the zero page
        }
    }

    BenchResult run(const BenchTest& test, std::uint32_t repetitions, bool uniform, bool warmup) {
        SessionOptions options = options_;
        options.n_ctx = test.n_depth + std::max(1u, test.n_prompt + test.n_gen);
        options.n_batch = std::min(options.n_batch, options.n_ctx);
        Session session(model_, options, ledger_);
        if (uniform) session.force_experts(uniform_routing(model_.hyper().n_expert));
        BenchResult result;
        result.test = test;
        result.test_time = utc_now();
        result.bytes_per_token = static_cast<double>(active_weight_bytes(model_.description()).value);
        if (test.n_depth > 0) append(session, test.n_depth);
        const Checkpoint start = session.checkpoint();
        if (warmup) repeat(session, start, {test.n_prompt, std::min(test.n_gen, 4u), 0});
        std::vector<double> bandwidths{bandwidth()};
        for (std::uint32_t i = 0; i < repetitions; ++i) {
            result.seconds.push_back(repeat(session, start, test));
            bandwidths.push_back(bandwidth());
        }
        std::ranges::sort(bandwidths);
        result.read_bandwidth = bandwidths[bandwidths.size() / 2];
        return result;
    }

    const Model& model() const { return model_; }

private:
    /// Seconds of one repetition.
    double repeat(Session& session, const Checkpoint& start, const BenchTest& test) {
        session.restore(start);
        const auto begin = std::chrono::steady_clock::now();
        if (test.n_prompt > 0) append(session, test.n_prompt);
        for (std::uint32_t i = 0; i < test.n_gen; ++i) append(session, 1);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }

    void append(Session& session, std::uint32_t n) {
        tokens_.clear();
        for (std::uint32_t i = 0; i < n; ++i)
            tokens_.push_back(static_cast<std::int32_t>(mix(session.position() + i) % session.n_vocab()));
        session.append(tokens_);
    }

    double bandwidth() const {
        const auto memory = buffer_.bytes().empty() ? model_.data() : std::span<const std::byte>(buffer_.bytes());
        return measure_read_bandwidth(memory.first(std::min(memory.size(), kBandwidthBytes)), options_.n_threads);
    }

    Model model_;
    SessionOptions options_;
    Ledger& ledger_;
    HostBuffer buffer_;
    std::vector<std::int32_t> tokens_;
};

Model make_model(const po::variables_map& values, Ledger& ledger) {
    if (values.count("model") > 0) {
        Model model = open_model(values["model"].as<std::string>(), ledger);
        model.read_ahead({});
        return model;
    }
    const ModelDescription description = describe_shape(values["shape"].as<std::string>());
    return Model::random(description, make_host_plan(description, {}), 1, ledger);
}

/// What --profile names, else this machine's profile if it was measured before: nothing is measured for it here.
std::optional<MachineProfile> find_machine(const po::variables_map& values) {
    if (values.count("profile") > 0) return load_machine(values["profile"].as<std::vector<std::string>>());
    try {
        const auto path = machine_cache_path();
        auto machine = path ? read_cached_machine(*path) : std::nullopt;
        if (machine && identity_of(*machine) == present_identity()) return machine;
    } catch (const Error&) {  // lfm-probe says what is wrong with it
    }
    return std::nullopt;
}

BenchFormat parse_format(const std::string& name) {
    if (name == "md") return BenchFormat::kMarkdown;
    if (name == "csv") return BenchFormat::kCsv;
    if (name == "json") return BenchFormat::kJson;
    throw Error(ErrorCode::kUsage, "--output", "expected md, csv or json, found " + name);
}

po::options_description bench_options() {
    po::options_description options(
        "lfm-bench: speed of a model file, or of random weights of a real shape\n"
        "  t/s: mean and deviation; GB/s: weights read while decoding; RAM GB/s: read loop in the same run, same "
        "threads");
    options.add_options()("help,h", "this text")("version", "version");
    options.add_options()("model,m", po::value<std::string>(), "model file");
    options.add_options()("shape", po::value<std::string>(), "NAME:TYPE, as in lfm2-24b-a2b:Q4_0");
    options.add_options()("n-prompt,p", po::value<std::string>()->default_value("512"),
                          "prompt tokens; a list is several tests");
    options.add_options()("n-gen,n", po::value<std::string>()->default_value("128"),
                          "generated tokens; a list is several tests");
    options.add_options()("n-depth,d", po::value<std::string>()->default_value("0"),
                          "tokens of context before the test");
    options.add_options()("repetitions,r", po::value<std::uint32_t>()->default_value(5), "of each test");
    options.add_options()("no-warmup", "skip the uncounted first run");
    options.add_options()("routing", po::value<std::string>(),
                          "router or uniform; default: uniform for a shape, else router");
    options.add_options()("profile", po::value<std::vector<std::string>>(),
                          "machine to predict for; default: this one, if lfm-probe has measured it");
    options.add_options()("vram-budget", po::value<std::string>(),
                          "for programs with a GPU backend; this one has none");
    options.add_options()("output,o", po::value<std::string>()->default_value("md"), "md, csv or json");
    options.add(compute_options());
    return options;
}

int run_bench(const std::vector<std::string>& arguments) {
    const auto description = bench_options();
    const auto values = parse_options(arguments, description, kComputeWords);
    if (values.count("help") > 0) return std::cout << description, 0;
    if (values.count("version") > 0) return std::cout << version_text("lfm-bench") << '\n', 0;
    if (values.count("model") + values.count("shape") != 1)
        throw Error(ErrorCode::kUsage, "options", "expected either --model or --shape");
    const BenchFormat format = parse_format(values["output"].as<std::string>());
    std::vector<BenchTest> tests;
    for (const std::uint32_t depth : parse_list(values, "n-depth")) {
        for (const std::uint32_t n : parse_list(values, "n-prompt"))
            if (n > 0) tests.push_back({n, 0, depth});
        for (const std::uint32_t n : parse_list(values, "n-gen"))
            if (n > 0) tests.push_back({0, n, depth});
    }
    const std::uint32_t repetitions = values["repetitions"].as<std::uint32_t>();
    if (repetitions < 1 || tests.empty())
        throw Error(ErrorCode::kUsage, "options", "expected at least one test and repetition");
    const std::string routing = values.count("routing") > 0 ? values["routing"].as<std::string>()
                                : values.count("shape") > 0 ? "uniform"
                                                            : "router";
    if (routing != "router" && routing != "uniform")
        throw Error(ErrorCode::kUsage, "--routing", "expected router or uniform, found " + routing);

    Ledger ledger;
    const SessionOptions options = session_options(values);
    Bench bench(make_model(values, ledger), options, ledger);
    const ModelDescription& model = bench.model().description();
    const bool uniform = routing == "uniform" && model.hyper.n_expert > 0;
    const cpu::Kernels& kernels = options.kernels != nullptr ? *options.kernels : cpu::best_kernels();
    BenchSetup setup;
    setup.model_filename =
        values.count("model") > 0 ? values["model"].as<std::string>() : values["shape"].as<std::string>();
    setup.model_type = values.count("model") > 0
                           ? model.hyper.architecture + " " + std::string(dtype_name(main_type(model)))
                           : values["shape"].as<std::string>();
    setup.model_size = weight_bytes(model);
    setup.model_n_params = count_parameters(model).total;
    setup.cpu_info = processor_name();
    setup.kernels = std::string(kernels.name);
    setup.routing = model.hyper.n_expert == 0 ? "none" : routing;
    setup.type_k = std::string(dtype_name(options.kv.k));
    setup.type_v = std::string(dtype_name(options.kv.v));
    setup.n_batch = options.n_batch;
    setup.n_threads = options.n_threads;
    if (const auto budget = find_budget(values, "vram-budget", Bytes{}); budget && budget->value > 0)
        Console("lfm-bench", Verbosity::kNormal).note("this program has no GPU backend: no VRAM is used");
    const auto machine = find_machine(values);
    std::vector<BenchResult> results;
    for (const BenchTest& test : tests) {
        results.push_back(bench.run(test, repetitions, uniform, values.count("no-warmup") == 0));
        if (machine) results.back().predicted = predict(model, *machine, options, test).value_or(0);
    }
    print_bench(std::cout, format, setup, results);
    return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    return lfm::tools::run_tool("lfm-bench", [&] { return lfm::tools::run_bench({argv + 1, argv + argc}); });
}
