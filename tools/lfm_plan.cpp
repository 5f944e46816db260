// lfm-plan: what goes where, why, and how fast it will be, before a byte is loaded.
#include <algorithm>
#include <clocale>
#include <cstring>
#include <iostream>

#include <langinfo.h>

#include "planner/make_plan.h"
#include "planner/placement.h"
#include "planner/plan_json.h"
#include "planner/shape.h"
#include "tools/machine_cache.h"
#include "tools/model_options.h"
#include "tools/plan_html.h"
#include "tools/plan_text.h"
#include "tools/profile_files.h"
#include "tools/stop_signals.h"

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
    options.add_options()("device", po::value<std::uint32_t>()->default_value(1), "which of the profile's devices");
    options.add_options()("ctx-size,c", po::value<std::uint32_t>()->default_value(0),
                          "tokens of context; 0: the model's, at most 8192");
    options.add_options()("batch-size,b", po::value<std::uint32_t>()->default_value(512), "most tokens of one step");
    options.add_options()("depth", po::value<std::uint32_t>(),
                          "predict with that many tokens in the context; default: "
                          "half of it");
    options.add_options()("cache-type-k", po::value<std::string>()->default_value("f16"), "-ctk: f16, f32, q8_0");
    options.add_options()("cache-type-v", po::value<std::string>()->default_value("f16"), "-ctv: f16, f32, q8_0");
    options.add_options()("routing", po::value<std::string>(), "recorded expert counts (JSON); default: uniform");
    options.add_options()("skew", po::value<double>()->default_value(0), "instead: expert r used like r^-SKEW");
    options.add_options()("locality", po::value<double>()->default_value(0), "share of choices that repeat");
    options.add_options()("sweep", po::value<std::string>()->implicit_value(""),
                          "a table over VRAM budgets (4GiB,8GiB,…; default: steps to the whole model)");
    options.add_options()("output,o", po::value<std::string>()->default_value("text"), "text, json or html");
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

double number_between(const po::variables_map& values, const char* option, double low, double high) {
    const double value = values[option].as<double>();
    if (!(value >= low && value <= high))
        throw Error(
            ErrorCode::kUsage, std::string("--") + option,
            "expected " + std::to_string(low) + " to " + std::to_string(high) + ", found " + std::to_string(value));
    return value;
}

PlanRequest find_request(const po::variables_map& values, const ModelDescription& model,
                         const MachineProfile& machine) {
    const HyperParameters& hyper = model.hyper;
    PlanRequest request;
    request.sizes.n_ctx = values["ctx-size"].as<std::uint32_t>();
    constexpr std::uint32_t kMost = 1u << 30;
    if (request.sizes.n_ctx > kMost)
        throw Error(ErrorCode::kUsage, "--ctx-size",
                    "expected at most " + std::to_string(kMost) + ", found " + std::to_string(request.sizes.n_ctx));
    if (request.sizes.n_ctx == 0)
        request.sizes.n_ctx = std::min(hyper.n_ctx_train > 0 ? hyper.n_ctx_train : kDefaultContext, kDefaultContext);
    request.sizes.n_batch = values["batch-size"].as<std::uint32_t>();
    if (request.sizes.n_batch == 0 || request.sizes.n_batch > 1u << 16)
        throw Error(ErrorCode::kUsage, "--batch-size",
                    "expected 1 to 65536, found " + std::to_string(request.sizes.n_batch));
    request.sizes.n_batch = std::min(request.sizes.n_batch, request.sizes.n_ctx);
    request.sizes.kv = cache_types(values);
    check_kv_types(request.sizes.kv, hyper);
    const std::uint32_t device = values["device"].as<std::uint32_t>();
    if (device == 0 || (device > machine.devices.size() && device > 1))
        throw Error(ErrorCode::kUsage, "--device",
                    "expected 1 to " + std::to_string(std::max<std::size_t>(1, machine.devices.size())) + ", found " +
                        std::to_string(device));
    request.device = device - 1;
    const Bytes vram = device <= machine.devices.size() ? machine.devices[device - 1].memory : Bytes{};
    request.vram_budget = find_budget(values, "vram-budget", vram);
    request.ram_budget = find_budget(values, "ram-budget", machine.host.memory);
    if (values.count("depth") > 0) {
        request.depth = values["depth"].as<std::uint32_t>();
        if (*request.depth > request.sizes.n_ctx)
            throw Error(ErrorCode::kUsage, "--depth",
                        "expected at most the context, " + std::to_string(request.sizes.n_ctx) + ", found " +
                            std::to_string(*request.depth));
    }
    const double skew = number_between(values, "skew", 0, 10), locality = number_between(values, "locality", 0, 0.999);
    if (values.count("routing") > 0) {
        const std::string& path = values["routing"].as<std::string>();
        request.routing = parse_routing(read_text(path), path, hyper);
    } else if (skew > 0 || locality > 0) {
        request.routing = skewed_routing(hyper, skew, locality);
    }
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
    for (std::size_t at = 0; !text.empty() && at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const auto budget = parse_bytes(text.substr(at, end - at));
        if (!budget) throw Error(ErrorCode::kUsage, "--sweep", "expected sizes with commas between, found " + text);
        budgets.push_back(*budget);
        at = end + 1;
    }
    if (!budgets.empty() || request.device >= machine.devices.size()) return budgets;
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
                const PlanRequest& request) {
    const std::vector<Bytes> budgets = sweep_budgets("", model, machine, request);
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

std::string size_text(Bytes bytes) {
    constexpr std::uint64_t kMiB = 1 << 20;
    if (bytes.value % (kMiB << 10) == 0) return std::to_string(bytes.value / (kMiB << 10)) + "GiB";
    return std::to_string(bytes.value / kMiB) + "MiB";
}

void add_commands(PlanReport& report, const po::variables_map& values) {
    const bool file = values.count("model") > 0;
    const std::string model = file ? "-m " + values["model"].as<std::string>() : "--shape " + report.model_name;
    const Plan& plan = report.plan;
    const std::string budget = plan.machine.device_name.empty() ? "" : " --vram-budget " + size_text(plan.vram_budget);
    report.command = "lfm-run -m " + (file ? values["model"].as<std::string>() : "MODEL.gguf") + budget + " -c " +
                     std::to_string(plan.sizes.n_ctx);
    report.verify_command = "lfm-bench " + model + budget + " -p " + std::to_string(plan.sizes.n_batch) + " -n 64 -d " +
                            std::to_string(plan.depth);
}

Glyphs glyphs() {
    std::setlocale(LC_CTYPE, "");
    return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? Glyphs::kBlocks : Glyphs::kAscii;
}

int print(const std::string& text) {
    std::cout << text;
    return std::cout.flush() ? 0 : 1;
}

int run_plan(const std::vector<std::string>& arguments) {
    const po::variables_map values = parse_options(arguments, plan_options(), kComputeWords);
    if (values.count("help") > 0) return std::cout << plan_options(), 0;
    if (values.count("version") > 0) return std::cout << version_text("lfm-plan") << '\n', 0;
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
    const Console console("lfm-plan", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    const ModelDescription model = find_model(values, console);
    const MachineProfile machine = find_machine(values, console);
    const PlanRequest request = find_request(values, model, machine);
    if (values.count("sweep") > 0) {
        const auto budgets = sweep_budgets(values["sweep"].as<std::string>(), model, machine, request);
        if (budgets.empty()) throw Error(ErrorCode::kUsage, "--sweep", "expected a machine with a device, found none");
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
    add_commands(report, values);
    add_next_gib(report, model, machine, request);
    if (output == Output::kText) return print(plan_text(report, glyphs()));
    add_sweeps(report, model, machine, request);
    return print(plan_html(report));
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    return lfm::tools::run_tool("lfm-plan", [&] { return lfm::tools::run_plan({argv + 1, argv + argc}); });
}
