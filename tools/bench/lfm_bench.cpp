// lfm-bench: prefill and decode speed, beside what the plan promises and, on the CPU, beside the memory bandwidth
// measured in the same run.
#include <algorithm>
#include <iterator>
#include <sstream>

#include "planner/cost/placement.h"
#include "planner/model/shape.h"
#include "runtime/machine/threads.h"
#include "runtime/probe/probe.h"
#include "runtime/step/launch_feeder.h"
#include "runtime/step/simulation.h"
#include "tools/bench/options.h"
#include "tools/bench/parallel.h"
#include "tools/bench/roofline.h"
#include "tools/bench/routing.h"
#include "tools/bench/run.h"
#include "tools/common/expected_use.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/common/prediction.h"
#include "tools/common/profile_files.h"
#include "tools/common/suspend_signal.h"
#include "tools/common/trace_output.h"

namespace lfm::tools {
namespace {

ModelDescription describe(const BenchOptions& options, const Console& console) {
    if (options.shape) return describe_shape(*options.shape);
    return describe_file(open_model_file(*options.model_file), options.allow_unknown, console);
}

ModelLoader loader(const BenchOptions& options, const ModelDescription& model, Ledger& ledger) {
    if (options.arithmetic == SimulatedArithmetic::kSkip)
        return [&](const Plan& plan, const DeviceLoad& to) { return Model::absent(model, plan, ledger, to); };
    if (options.shape)
        return [&](const Plan& plan, const DeviceLoad& to) { return Model::random(model, plan, 1, ledger, to); };
    return file_loader(*options.model_file, model, ledger);
}

WeightMemory weight_memory(const BenchOptions& options) {
    if (options.arithmetic == SimulatedArithmetic::kSkip) return WeightMemory::kNone;
    return options.shape ? WeightMemory::kOwnPages : WeightMemory::kFilePages;
}

/// Makes device.open simulate with the options' arithmetic, which may compute nothing.
void simulate(const BenchOptions& options, DeviceChoice& device) {
    device.open = [&options, &device](const DeviceOptions& wanted, Ledger& ledger) {
        return make_simulated({.machine = *device.machine,
                               .device = device.device,
                               .budget = wanted.budget,
                               .limits = wanted.limits,
                               .arithmetic = options.arithmetic,
                               .activations = wanted.activations},
                              ledger);
    };
}

/// What --profile names, else this machine's profile if it was measured before: nothing is measured for it here.
std::optional<MachineProfile> find_machine(const BenchOptions& options) {
    if (!options.device.profiles.empty()) return load_machine(options.device.profiles);
    try {
        const auto path = machine_cache_path();
        auto machine = path ? read_cached_machine(*path) : std::nullopt;
        if (machine && identity_of(*machine) == identity_of(profile_scope(find_devices(BackendName::kAuto), {})))
            return machine;
    } catch (const Error&) {  // lfm-probe says what is wrong with it
    }
    return std::nullopt;
}

/// A profile that promises less than this machine has shown to do is measured anew, for the next run's predictions.
void check_profile(const std::vector<BenchResult>& results, std::uint32_t n_threads, const Console& console) {
    double fastest = 0;
    for (const BenchResult& result : results) fastest = std::max(fastest, result.read_bandwidth);
    if (forget_slow_profile(fastest, n_threads, console))
        this_machine({.console = console, .probe = {}, .devices = {}});
}

BenchSetup make_setup(const BenchOptions& options, const Placed& placed, const DeviceChoice& device) {
    const ModelDescription& model = placed.model().description();
    const SessionOptions& session = options.session;
    BenchSetup setup;
    if (options.format == BenchFormat::kJson) setup.passed_over = passed_over(options.device, device);
    setup.model_filename = options.model_file.value_or(options.shape.value_or(""));
    setup.model_type =
        options.shape.value_or(model.hyper.architecture + " " + std::string(dtype_name(main_type(model))));
    setup.model_size = weight_bytes(model);
    setup.model_n_params = count_parameters(model).total;
    setup.cpu_info = processor_name();
    setup.kernels = std::string((session.kernels != nullptr ? *session.kernels : cpu::best_kernels()).name);
    setup.routing = model.hyper.n_expert == 0 ? "none" : options.routing_text;
    setup.type_k = std::string(dtype_name(session.kv.k));
    setup.type_v = std::string(dtype_name(session.kv.v));
    setup.n_batch = session.n_batch;
    setup.n_threads = session.n_threads;
    setup.is_parallel = !options.parallel_tests.empty();
    if (placed.device() == nullptr) return setup;
    setup.device = device.name;
    setup.backend = placed.device()->name();
    setup.backend.resize(std::min(setup.backend.find(','), setup.backend.size()));
    setup.vram_budget = placed.plan().vram_budget;
    setup.driver_queue = placed.device()->limits().most_launches;
    setup.queue_limit = std::min(setup.driver_queue, LaunchFeeder::kMostOutstanding);
    setup.n_layers_on_device = static_cast<std::uint32_t>(std::ranges::count(placed.plan().layers, kDevice));
    if (!device.simulated) return setup;
    const HostProfile& host = device.machine->host;
    setup.time = BenchTime::kVirtual;
    setup.arithmetic = options.arithmetic == SimulatedArithmetic::kSkip ? "skip" : "run";
    setup.cpu_info = host.name;
    setup.kernels = host.instruction_set;
    setup.n_threads = host.n_threads;
    return setup;
}

/// Tokens per second.
std::optional<double> predict(const PredictionInputs& inputs, std::uint32_t n_batch, const BenchTest& test) {
    if (test.n_gen > 0) {
        const auto seconds = predict_decode(inputs, test.n_depth + test.n_gen / 2);
        return seconds ? std::optional(1 / *seconds) : std::nullopt;
    }
    double seconds = 0;
    for (std::uint32_t first = 0; first < test.n_prompt; first += n_batch) {
        const auto step = predict_prefill(inputs, std::min(n_batch, test.n_prompt - first), 1);
        if (!step) return std::nullopt;
        seconds += *step;
    }
    return test.n_prompt / seconds;
}

/// Which experts tokens are expected to use; nothing: uniform.
std::optional<Routing> expected_of(const BenchOptions& options, const HyperParameters& hyper) {
    if (options.counts_file) {
        ExpectedUse use;
        use.counts_file = options.counts_file;
        use.is_given = true;
        return routing_of(use, hyper);
    }
    if (options.routing && hyper.n_expert > 0) return expected_routing(*options.routing, hyper);
    return std::nullopt;
}

int run_bench(const BenchOptions& options) {
    const Console console("lfm-bench", options.verbosity);
    install_suspend_signal();
    TraceOutput trace(options.trace_file, options.files_read,
                      "lfm-bench " + options.model_file.value_or(options.shape.value_or("")));
    const ModelDescription model = describe(options, console);
    // Wrong options are reported before a device is looked for.
    if (!options.routing_option.empty() && model.hyper.n_expert == 0)
        throw Error(ErrorCode::kUsage, options.routing_option, "expected a model with experts, found none");
    DeviceChoice device = choose_device(options.device, console);
    SessionOptions session = options.session;
    if (device.simulated) simulate(options, device);
    session.trace = trace.trace();
    std::optional<RoutingTrace> routing;
    if (options.routing && model.hyper.n_expert > 0) routing = RoutingTrace::open(*options.routing, model.hyper);
    const std::optional<Routing> expected = expected_of(options, model.hyper);
    Ledger ledger;
    Placed placed = open_placed({.model = model,
                                 .device = device,
                                 .session = session,
                                 .routing = expected,
                                 .load = loader(options, model, ledger),
                                 .weights = weight_memory(options)},
                                console, ledger);
    SuspendBetweenSteps between_steps;
    placed.session().set_step_watcher(&between_steps);
    const bool on_device = placed.device() != nullptr;
    if (device.simulated && !on_device)
        throw Error(ErrorCode::kUsage, "--backend sim",
                    "expected a plan that uses the device, which keeps the time; found everything in RAM");
    placed.model().read_ahead({});

    const auto machine = on_device ? device.machine : find_machine(options);
    const bool predicted = machine && (device.simulated || profiled_alike(machine->host, options.session));
    const auto rated = on_device ? std::optional(device.device) : std::nullopt;
    const BenchTime time = device.simulated ? BenchTime::kVirtual : BenchTime::kMeasured;
    std::vector<BenchResult> results;
    BenchInputs inputs{placed, options, std::move(routing), time};
    for (const ParallelTest& test : options.parallel_tests)
        std::ranges::move(run_parallel(test, inputs, &between_steps), std::back_inserter(results));
    Bench bench(std::move(inputs), ledger);
    for (const BenchTest& test : options.tests) {
        double tokens_per_second = 0;
        if (predicted)
            tokens_per_second =
                predict({model, placed.plan(), *machine, rated, expected}, options.session.n_batch, test).value_or(0);
        results.push_back(bench.run(test));
        results.back().predicted = tokens_per_second;
    }
    if (on_device)
        for (const std::string& remark : placed.device()->remarks()) console.note(device.name + ": " + remark);
    if (!on_device && options.device.profiles.empty()) check_profile(results, options.session.n_threads, console);
    std::ostringstream table;
    print_bench(table, options.format, make_setup(options, placed, device), results);
    write_stdout(table.str());
    trace.keep();
    return 0;
}

int run_action(const BenchOptions& options) {
    switch (options.action) {
        case BenchAction::kHelp: write_stdout(help_text(bench_options())); return 0;
        case BenchAction::kVersion: write_stdout(version_text("lfm-bench") + "\n"); return 0;
        case BenchAction::kRoofline: run_roofline(options); return 0;
        case BenchAction::kRun: break;
    }
    return run_bench(options);
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    return lfm::tools::run_tool("lfm-bench", [&] {
        return lfm::tools::run_action(lfm::tools::parse_bench_options({argv + 1, argv + argc}));
    });
}
