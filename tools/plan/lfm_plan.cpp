// lfm-plan: what goes where, why, and how fast it will be, before a byte is loaded.
#include <algorithm>
#include <clocale>
#include <cstring>

#include <langinfo.h>

#include "planner/cost/placement.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "planner/plan/plan_json.h"
#include "tools/common/device_choice.h"
#include "tools/common/expected_use.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/profile_files.h"
#include "tools/common/stop_signals.h"
#include "tools/plan/commands.h"
#include "tools/plan/html.h"
#include "tools/plan/text.h"

namespace lfm::tools {
namespace {

constexpr std::uint32_t kDefaultContext = 8192;

enum class Output { kText, kJson, kHtml };

po::options_description plan_options() {
    po::options_description options(
        "usage: lfm-plan (-m FILE | --shape NAME:TYPE) [options]\n"
        "What goes where, why, and how fast; nothing is loaded");
    options.add_options()("help,h", "this text")("version", "version")("quiet,q", "no notes on stderr");
    options.add_options()("model,m", po::value<std::string>(), "model file; its header is read");
    options.add_options()("allow-unknown", po::value<std::vector<std::string>>(), kAllowUnknownHelp);
    options.add_options()("shape", po::value<std::string>(), "NAME:TYPE, as in lfm2-24b-a2b:Q4_K_M");
    options.add_options()("profile", po::value<std::vector<std::string>>(),
                          "machine: names or files, parts merged (rtx-4060-ti-16gb+ddr5-5600); may be repeated; "
                          "default: this machine, measured");
    options.add_options()("profiles", "names of the shipped profiles");
    options.add_options()("vram-budget", po::value<std::string>(), "as 8GiB, or 80%; 0: the CPU alone; default: all");
    options.add_options()("ram-budget", po::value<std::string>(), "as 32GiB, or 80%; default: 90%");
    options.add_options()("device", po::value<std::string>()->default_value("0"),
                          "which of the machine's devices, from 0");
    options.add_options()("ctx-size,c", po::value<std::string>()->default_value("0"),
                          "tokens of context; 0: the model's, at most 8192");
    options.add_options()("batch-size,b", po::value<std::string>()->default_value("512"), "most tokens of one step");
    options.add_options()("depth", po::value<std::string>(),
                          "predict with that many tokens in the context; default: "
                          "half of it");
    options.add_options()("cache-type-k", po::value<std::string>()->default_value("f16"), "-ctk: f16, f32, q8_0");
    options.add_options()("cache-type-v", po::value<std::string>()->default_value("f16"), "-ctv: f16, f32, q8_0");
    options.add_options()("sweep", po::value<std::string>()->implicit_value(""),
                          "a table over VRAM budgets (4GiB,8GiB,…; default: steps to the whole model)");
    options.add_options()("output,o", po::value<std::string>()->default_value("text"), "text, json or html");
    options.add(expected_use_options());
    return options;
}

Output parse_output(const std::string& name) {
    if (name == "text") return Output::kText;
    if (name == "json") return Output::kJson;
    if (name == "html") return Output::kHtml;
    throw Error(ErrorCode::kUsage, "--output", "expected text, json or html, found " + name);
}

MachineProfile find_machine(const po::variables_map& values, const Console& console) {
    if (values.count("profile") > 0) return load_machine(values["profile"].as<std::vector<std::string>>());
    return this_machine({.console = console, .probe = {.stop = &stop_flag()}, .devices = {}});
}

ModelDescription find_model(const po::variables_map& values, const Console& console) {
    if (values.count("shape") > 0) return describe_shape(values["shape"].as<std::string>());
    return describe_file(open_model_file(values["model"].as<std::string>()), allowed_unknown(values), console);
}

/// Refuses what the options alone show to be wrong, before a machine is measured.
void check_options(const po::variables_map& values, Output output) {
    find_integer(values, "ctx-size", kContextRange);
    find_integer(values, "batch-size", kBatchRange);
    find_integer(values, "device", kDeviceRange);
    find_integer(values, "depth", kContextRange);
    cache_types(values);
    expected_use(values);
    for (const char* budget : {"vram-budget", "ram-budget"}) find_budget(values, budget, {});
    if (values.count("sweep") == 0) return;
    if (const auto text = find_text(values, "sweep"); !text->empty()) parse_sizes(*text, "--sweep");
    if (output == Output::kJson)
        throw Error(ErrorCode::kUsage, "--sweep", "expected text or html beside it, found json, which is one plan's");
    if (output == Output::kText && values.count("vram-budget") > 0)
        throw Error(ErrorCode::kUsage, "--vram-budget", "expected none beside --sweep, which tries many");
}

/// The index in machine.devices that --device means: with --profile the number itself, else that of the device which
/// `lfm-probe --list` shows with that number, as in every other program.
std::size_t find_device(const po::variables_map& values, const MachineProfile& machine) {
    const auto number = static_cast<std::uint32_t>(*find_integer(values, "device", kDeviceRange));
    if (!is_given(values, "device")) return number;
    if (values.count("profile") == 0 && !machine.devices.empty()) {
        const FoundDevice asked = *pick_device(BackendName::kAuto, number);
        const ProfileScope scope = profile_scope(find_devices(BackendName::kAuto), {});
        for (std::size_t i = 0; i < std::min(scope.devices.size(), machine.devices.size()); ++i)
            if (scope.devices[i].backend == asked.backend && scope.devices[i].index == asked.index) return i;
    }
    if (number >= machine.devices.size())
        throw Error(ErrorCode::kUsage, "--device", expected_device(machine.devices.size(), number));
    return number;
}

PlanRequest find_request(const po::variables_map& values, const ModelDescription& model,
                         const MachineProfile& machine) {
    const HyperParameters& hyper = model.hyper;
    PlanRequest request;
    request.sizes.n_ctx = static_cast<std::uint32_t>(*find_integer(values, "ctx-size", kContextRange));
    if (request.sizes.n_ctx == 0)
        request.sizes.n_ctx = std::min(hyper.n_ctx_train > 0 ? hyper.n_ctx_train : kDefaultContext, kDefaultContext);
    request.sizes.n_batch = static_cast<std::uint32_t>(*find_integer(values, "batch-size", kBatchRange));
    request.sizes.n_batch = std::min(request.sizes.n_batch, request.sizes.n_ctx);
    request.sizes.kv = cache_types(values);
    check_kv_types(request.sizes.kv, hyper);
    const std::size_t device = find_device(values, machine);
    request.device = device;
    const Bytes vram = device < machine.devices.size() ? machine.devices[device].memory : Bytes{};
    request.vram_budget = find_budget(values, "vram-budget", vram);
    request.ram_budget = find_budget(values, "ram-budget", machine.host.memory);
    if (const auto depth = find_integer(values, "depth", {0, request.sizes.n_ctx}))
        request.depth = static_cast<std::uint32_t>(*depth);
    request.routing = routing_of(expected_use(values), hyper);
    return request;
}

[[noreturn]] void fail(const Shortfall& shortfall) {
    throw Error(ErrorCode::kShortfall, shortfall.device == kHost ? "RAM" : "VRAM",
                "needs at least " + format_bytes(shortfall.needed) + ", the budget is " +
                    format_bytes(shortfall.available) + "; " + shortfall.reason);
}

std::vector<Bytes> sweep_budgets(const std::string& text, const ModelDescription& model, const MachineProfile& machine,
                                 const PlanRequest& request) {
    std::vector<Bytes> budgets;
    if (!text.empty()) return parse_sizes(text, "--sweep");
    if (request.device >= machine.devices.size()) return budgets;
    // Up to what holds everything, in at most 16 steps of whole GiB (or of a sixteenth, for small models).
    const DeviceProfile& device = machine.devices[request.device];
    const Inventory inventory = take_inventory(model, request.sizes);
    const std::uint64_t everything = (inventory.weights() + inventory.kv()).value + (std::uint64_t{1} << 30);
    const std::uint64_t most = std::min(everything, device.free.value_or(device.memory).value);
    constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
    std::uint64_t step = most / 16;
    if (most >= 4 * kGiB) step = (most / 16 + kGiB - 1) / kGiB * kGiB;
    for (std::uint64_t budget = 0; budget < most; budget += std::max<std::uint64_t>(step, 1))
        budgets.push_back({budget});
    budgets.push_back({most});
    return budgets;
}

SweepPoint point(std::uint64_t x, const std::variant<Plan, Shortfall>& result) {
    if (const auto* plan = std::get_if<Plan>(&result)) return {x, plan->decode, plan->prefill};
    return {x, {}, {}};
}

void add_sweeps(PlanReport& report, const ModelDescription& model, const MachineProfile& machine,
                const PlanRequest& request, std::vector<Bytes> budgets) {
    std::ranges::sort(budgets);
    const auto plans = make_plans(model, machine, request, budgets);
    for (std::size_t i = 0; i < budgets.size(); ++i) report.budgets.push_back(point(budgets[i].value, plans[i]));
    PlanRequest other = request;
    const std::uint32_t most = std::max(model.hyper.n_ctx_train, request.sizes.n_ctx);
    for (std::uint32_t n_ctx = 1024; n_ctx <= most && n_ctx <= 1u << 20; n_ctx *= 2) {
        other.sizes.n_ctx = n_ctx;
        other.depth.reset();
        report.contexts.push_back(point(n_ctx, make_plan(model, machine, other)));
    }
}

void add_next_gib(PlanReport& report, const ModelDescription& model, const MachineProfile& machine,
                  PlanRequest request) {
    if (report.plan.vram_budget.value == 0) return;
    const DeviceProfile& device = machine.devices[request.device];
    const Bytes more = report.plan.vram_budget + Bytes{std::uint64_t{1} << 30};
    // As if the device had it: what a larger card would give.
    MachineProfile larger = machine;
    if (more > device.free.value_or(device.memory)) larger.devices[request.device].free = more;
    request.vram_budget = more;
    report.next_gib = point(more.value, make_plan(model, larger, request));
}

Glyphs glyphs() {
    std::setlocale(LC_CTYPE, "");
    return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? Glyphs::kBlocks : Glyphs::kAscii;
}

int print(const std::string& text) {
    write_stdout(text);
    return 0;
}

int run_plan(const std::vector<std::string>& arguments) {
    const po::variables_map values = parse_options(arguments, plan_options(), kComputeWords);
    if (values.count("help") > 0) return print(help_text(plan_options()));
    if (values.count("version") > 0) return print(version_text("lfm-plan") + "\n");
    if (values.count("profiles") > 0) {
        std::string names;
        for (const std::string& name : profile_names()) names += name + "\n";
        return print(names);
    }
    if (values.count("model") + values.count("shape") != 1)
        throw Error(ErrorCode::kUsage, "options", "expected either --model or --shape");
    if (!allowed_unknown(values).empty() && values.count("model") == 0)
        throw Error(ErrorCode::kUsage, "--allow-unknown", "expected --model beside it, found none");
    const Output output = parse_output(values["output"].as<std::string>());
    check_options(values, output);
    const Console console("lfm-plan", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    const ModelDescription model = find_model(values, console);
    const MachineProfile machine = find_machine(values, console);
    const PlanRequest request = find_request(values, model, machine);
    const bool sweeps = values.count("sweep") > 0;
    const auto budgets = sweep_budgets(find_text(values, "sweep").value_or(""), model, machine, request);
    if (sweeps && request.device >= machine.devices.size())
        throw Error(ErrorCode::kUsage, "--sweep", "expected a machine with a device, found none");
    if (sweeps && output == Output::kText) {
        std::vector<SweepRow> rows;
        const auto plans = make_plans(model, machine, request, budgets);
        for (std::size_t i = 0; i < budgets.size(); ++i) {
            const auto* plan = std::get_if<Plan>(&plans[i]);
            rows.push_back({budgets[i], plan != nullptr ? std::optional(*plan) : std::nullopt});
        }
        return print(sweep_text(rows, request.depth.value_or(request.sizes.n_ctx / 2)));
    }
    const auto result = make_plan(model, machine, request);
    if (const auto* shortfall = std::get_if<Shortfall>(&result)) fail(*shortfall);
    const Plan& plan = std::get<Plan>(result);
    if (output == Output::kJson) return print(to_json(plan));
    PlanReport report{
        .plan = plan,
        .model_name = values.count("model") > 0 ? values["model"].as<std::string>() : values["shape"].as<std::string>(),
        .command = {},
        .verify_command = {},
        .budgets = {},
        .contexts = {},
        .next_gib = {}};
    const PlanCommands commands =
        plan_commands(plan, {.model_file = find_text(values, "model"),
                             .shape = find_text(values, "shape").value_or(""),
                             .profiles = values.count("profile") > 0 ? values["profile"].as<std::vector<std::string>>()
                                                                     : std::vector<std::string>{},
                             .device = static_cast<std::size_t>(*find_integer(values, "device", kDeviceRange)),
                             .ram_budget = request.ram_budget,
                             .n_batch = static_cast<std::uint32_t>(*find_integer(values, "batch-size", kBatchRange)),
                             .use = expected_use(values)});
    report.command = commands.run;
    report.verify_command = commands.verify;
    add_next_gib(report, model, machine, request);
    if (output == Output::kText) return print(plan_text(report, glyphs()));
    add_sweeps(report, model, machine, request, budgets);
    return print(plan_html(report));
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    return lfm::tools::run_tool("lfm-plan", [&] { return lfm::tools::run_plan({argv + 1, argv + argc}); });
}
