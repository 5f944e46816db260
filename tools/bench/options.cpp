#include "tools/bench/options.h"

#include <algorithm>
#include <filesystem>

#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"

namespace lfm::tools {
namespace {

std::vector<std::uint32_t> parse_list(const po::variables_map& values, const char* option) {
    constexpr IntegerRange kTokens{0, 1 << 24};
    const auto numbers = parse_integers(values[option].as<std::string>(), std::string("--") + option, kTokens);
    return {numbers.begin(), numbers.end()};
}

std::vector<BenchTest> find_tests(const po::variables_map& values) {
    std::vector<BenchTest> tests;
    for (const std::uint32_t depth : parse_list(values, "n-depth")) {
        for (const std::uint32_t n : parse_list(values, "n-prompt"))
            if (n > 0) tests.push_back({n, 0, depth});
        for (const std::uint32_t n : parse_list(values, "n-gen"))
            if (n > 0) tests.push_back({0, n, depth});
    }
    if (tests.empty()) throw Error(ErrorCode::kUsage, "options", "expected at least one test, found none");
    return tests;
}

std::vector<ParallelTest> find_parallel_tests(const po::variables_map& values) {
    std::vector<ParallelTest> tests;
    if (values.count("parallel") == 0) return tests;
    constexpr IntegerRange kSequences{1, 1024};
    for (const std::int64_t n_parallel : parse_integers(values["parallel"].as<std::string>(), "--parallel", kSequences))
        for (const std::uint32_t depth : parse_list(values, "n-depth"))
            for (const std::uint32_t n_prompt : parse_list(values, "n-prompt"))
                for (const std::uint32_t n_gen : parse_list(values, "n-gen"))
                    if (n_prompt + n_gen > 0)
                        tests.push_back({n_prompt, n_gen, depth, static_cast<std::uint32_t>(n_parallel)});
    if (tests.empty()) throw Error(ErrorCode::kUsage, "options", "expected at least one test, found none");
    return tests;
}

BenchFormat find_format(const po::variables_map& values) {
    const auto& name = values["output"].as<std::string>();
    if (name == "md") return BenchFormat::kMarkdown;
    if (name == "csv") return BenchFormat::kCsv;
    if (name == "json") return BenchFormat::kJson;
    throw Error(ErrorCode::kUsage, "--output", "expected md, csv or json, found " + shown(name));
}

void find_routing(const po::variables_map& values, BenchOptions& options) {
    const bool traced = values.count("routing-trace") > 0;
    if (traced && values.count("routing") > 0)
        throw Error(ErrorCode::kUsage, "--routing-trace", "expected no --routing beside it");
    // Random weights route at random, but not evenly.
    std::string name = options.shape ? "uniform" : "router";
    if (values.count("routing") > 0) name = values["routing"].as<std::string>();
    if (values.count("routing") > 0 && name != "router" && name != "uniform") {
        std::error_code ignored;
        const bool file =
            name.find('/') != std::string::npos || name.ends_with(".json") || std::filesystem::exists(name, ignored);
        if (!file)
            throw Error(ErrorCode::kUsage, "--routing", "expected router, uniform or a file, found " + shown(name));
        options.counts_file = name;
        name = options.shape ? "uniform" : "router";
    }
    if (traced || values.count("routing") > 0) options.routing_option = traced ? "--routing-trace" : "--routing";
    options.routing_text = traced ? values["routing-trace"].as<std::string>() : name;
    if (traced)
        options.routing = parse_routing_trace_spec(options.routing_text, "--routing-trace");
    else if (name == "uniform")
        options.routing = SyntheticRouting{};
}

void find_arithmetic(const po::variables_map& values, BenchOptions& options) {
    const bool simulated = options.device.backend == BackendName::kSim;
    const bool unneeded = simulated && options.shape && options.routing;
    if (values.count("arithmetic") == 0) {
        options.arithmetic = unneeded ? SimulatedArithmetic::kSkip : SimulatedArithmetic::kRun;
        return;
    }
    const auto& name = values["arithmetic"].as<std::string>();
    if (name != "run" && name != "skip")
        throw Error(ErrorCode::kUsage, "--arithmetic", "expected run or skip, found " + shown(name));
    if (name == "run") return;
    if (!simulated)
        throw Error(
            ErrorCode::kUsage, "--arithmetic",
            std::string("expected skip with --backend sim alone, found ") + backend_text(options.device.backend));
    if (!options.routing)
        throw Error(ErrorCode::kUsage, "--arithmetic",
                    "expected --routing-trace beside skip: a router chooses by what it computes");
    options.arithmetic = SimulatedArithmetic::kSkip;
}

/// --roofline measures the CPU's kernels alone.
void check_roofline(const po::variables_map& values) {
    for (const char* option : {"n-prompt", "n-gen", "n-depth", "parallel", "ctx-size", "no-warmup", "routing",
                               "routing-trace", "arithmetic", "trace", "device", "vram-budget", "ram-budget", "profile",
                               "adapt", "batch-size", "cache-type-k", "cache-type-v"})
        if (is_given(values, option))
            throw Error(ErrorCode::kUsage, std::string("--") + option, "expected none beside --roofline");
    if (const auto& backend = values["backend"].as<std::string>(); backend != "auto" && backend != "cpu")
        throw Error(ErrorCode::kUsage, "--backend", "expected cpu or none beside --roofline, found " + shown(backend));
}

/// Refuses options that say how to compute, where nothing is computed.
void check_skipped(const po::variables_map& values) {
    for (const char* option : {"threads", "kernels", "exact"})
        if (is_given(values, option))
            throw Error(
                ErrorCode::kUsage, std::string("--") + option,
                "expected none where nothing is computed, the profile says how fast; --arithmetic run computes");
}

/// Sizes one session for all tests.
void set_sizes(const po::variables_map& values, BenchOptions& options) {
    std::uint32_t n_ctx = 0, longest = 1;
    for (const BenchTest& test : options.tests) {
        n_ctx = std::max(n_ctx, test.n_depth + test.n_prompt + test.n_gen);
        longest = std::max({longest, test.n_depth, test.n_prompt});
    }
    for (const ParallelTest& test : options.parallel_tests) {
        n_ctx = std::max(n_ctx, test.n_depth + test.n_prompt + test.n_gen);
        longest = std::max({longest, test.n_parallel, test.n_depth * test.n_parallel, test.n_prompt * test.n_parallel});
        options.session.n_sequences = std::max(options.session.n_sequences, test.n_parallel);
    }
    if (options.session.n_sequences > options.session.n_batch)
        throw Error(ErrorCode::kUsage, "--parallel",
                    "expected at most the batch size " + std::to_string(options.session.n_batch) + ", found " +
                        std::to_string(options.session.n_sequences));
    options.session.n_outputs = options.session.n_sequences;
    options.session.n_ctx = n_ctx;
    options.session.n_batch = std::min(options.session.n_batch, longest);
    if (values.count("ctx-size") == 0) return;
    const auto asked = static_cast<std::uint32_t>(*find_integer(values, "ctx-size", {1, kContextRange.highest}));
    if (asked < n_ctx)
        throw Error(ErrorCode::kUsage, "--ctx-size",
                    "expected at least the " + std::to_string(n_ctx) + " tokens of the longest test, found " +
                        std::to_string(asked));
    options.session.n_ctx = asked;
    options.session.n_batch = std::min(session_options(values).n_batch, asked);
}

OneDashWords bench_words() {
    OneDashWords words = kComputeWords;
    words.insert({"-np", "parallel"});
    return words;
}

}  // namespace

po::options_description bench_options() {
    po::options_description options(
        "lfm-bench: speed of a model file, or of random weights of a real shape\n"
        "  t/s: mean and deviation; GB/s: weights read while decoding; RAM GB/s: read\n"
        "  loop in the same run, same threads; on a device: the most of its memory\n"
        "  that was taken, hits: uses of experts that it held, MB/t: experts that\n"
        "  crossed the bus per token");
    const auto text = [] { return po::value<std::string>(); };
    options.add_options()("help,h", "this text")("version", "version")("quiet,q", "nothing on stderr but errors");
    options.add_options()("model,m", text(), "model file");
    options.add_options()("shape", text(), "NAME:TYPE, as in lfm2-24b-a2b:Q4_0");
    options.add_options()("n-prompt,p", text()->default_value("512"), "prompt tokens; a list is several tests");
    options.add_options()("n-gen,n", text()->default_value("128"), "generated tokens; a list is several tests");
    options.add_options()("n-depth,d", text()->default_value("0"), "tokens of context before the test");
    options.add_options()(
        "parallel", text(),
        "-np: sequences that share steps; a list is several tests, each of the prompts together, then "
        "of tokens after them");
    options.add_options()("ctx-size,c", text(), "tokens of context; default: what the tests need");
    options.add_options()("repetitions,r", text()->default_value("5"), "of each test");
    options.add_options()("no-warmup", "skip the uncounted first run");
    options.add_options()("routing", text(),
                          "router or uniform; default: uniform for a shape, else router; or a file of lfm-eval "
                          "routing -o, to plan with");
    options.add_options()("routing-trace", text(),
                          "experts to use: zipf:1.0,reuse:0.6 or a file of lfm-eval routing --trace");
    options.add_options()("arithmetic", text(),
                          "of --backend sim: run, or skip (default for a shape), which needs little memory; its times "
                          "are the simulated device's in both");
    options.add_options()(
        "roofline",
        "instead: the CPU's kernels on the model's matrices (or the family's in the usual types), for "
        "1, 32 and 512 tokens, beside what the memory and the arithmetic give in the same moments");
    options.add_options()("trace", text(), "write what ran when, warm-up included, for ui.perfetto.dev");
    options.add_options()("output,o", text()->default_value("md"), "md, csv or json");
    options.add(compute_options()).add(device_options());
    return options;
}

BenchOptions parse_bench_options(const std::vector<std::string>& arguments) {
    const auto values = parse_options(arguments, bench_options(), bench_words());
    BenchOptions options;
    if (values.count("help") > 0) options.action = BenchAction::kHelp;
    if (values.count("version") > 0) options.action = BenchAction::kVersion;
    if (options.action != BenchAction::kRun) return options;
    if (values.count("roofline") > 0) {
        options.action = BenchAction::kRoofline;
        check_roofline(values);
    }
    const std::size_t n_models = values.count("model") + values.count("shape");
    if (n_models > 1 || (n_models == 0 && options.action == BenchAction::kRun))
        throw Error(ErrorCode::kUsage, "options", "expected either --model or --shape");
    if (values.count("model") > 0) options.model_file = values["model"].as<std::string>();
    if (values.count("shape") > 0) options.shape = values["shape"].as<std::string>();
    if (values.count("quiet") > 0) options.verbosity = Verbosity::kQuiet;
    options.allow_unknown = allowed_unknown(values);
    if (!options.allow_unknown.empty() && !options.model_file)
        throw Error(ErrorCode::kUsage, "--allow-unknown", "expected --model beside it, found none");
    options.format = find_format(values);
    if (values.count("trace") > 0) options.trace_file = values["trace"].as<std::string>();
    options.files_read = files_read(values);
    if (values.count("routing") > 0) options.files_read.push_back(values["routing"].as<std::string>());
    if (values.count("routing-trace") > 0) options.files_read.push_back(values["routing-trace"].as<std::string>());
    options.parallel_tests = find_parallel_tests(values);
    if (options.parallel_tests.empty()) options.tests = find_tests(values);
    options.repetitions = static_cast<std::uint32_t>(*find_integer(values, "repetitions", {1, 100'000}));
    options.warmup = values.count("no-warmup") == 0;
    options.device = device_request(values, ProfileUse::kDeviceAndCpu);
    find_routing(values, options);
    find_arithmetic(values, options);
    options.session = session_options(values);
    options.session.adaptation = options.device.adaptation;
    // If the CPU went on, its times would be reported as the device's.
    options.session.after_loss = AfterLoss::kThrow;
    set_sizes(values, options);
    if (options.arithmetic == SimulatedArithmetic::kSkip) check_skipped(values);
    return options;
}

}  // namespace lfm::tools
