#include "tools/common/placed_model.h"

#include "planner/cost/placement.h"
#include "planner/plan/ram_needs.h"
#include "tools/common/model_options.h"
#include "tools/common/profile_files.h"

namespace lfm::tools {

struct PlacedModel::Opened {
    std::string path;
    ModelDescription model;
    DeviceChoice device;
    SessionOptions session;
};

namespace {

void note_device(const Placed& placed, const DeviceChoice& device, const Console& console) {
    if (placed.device() == nullptr) return;
    const ModelSummary& model = placed.plan().model;
    const std::uint32_t n_experts = (model.n_layer - model.n_layer_dense) * model.n_expert;
    console.note(device.name + ": " + format_bytes(placed.device()->peak()) + " of " +
                 format_bytes(placed.plan().vram_budget) + " VRAM" +
                 (n_experts == 0 ? ""
                                 : ", " + std::to_string(placed.plan().n_experts_on(kDevice)) + " of " +
                                       std::to_string(n_experts) + " experts"));
}

}  // namespace

void check_ram(const ModelDescription& model, const SessionOptions& session, Bytes budget) {
    const RamNeeds needs = ram_needs(model, make_host_plan(model, session.sizes()));
    if (needs.total() > budget)
        throw Error(ErrorCode::kShortfall, "--ram-budget",
                    "needs " + format_bytes(needs.total()) + " (" + largest_part(needs, needs.weights) + ") with " +
                        std::to_string(session.n_ctx) + " tokens of context, there is " + format_bytes(budget));
}

Placed open_placed(const OpenRequest& request, const Console& console, Ledger& ledger) {
    const DeviceChoice& device = request.device;
    if (!device.open && device.ram_budget) check_ram(request.model, request.session, *device.ram_budget);
    ProgressLine progress(console, "copying to " + device.name);
    PlaceRequest wanted{.model = request.model,
                        .session = request.session,
                        .plan = planning_for(device),
                        .open = nullptr,
                        .load = request.load,
                        .progress =
                            [&](Bytes done, Bytes total) {
                                progress.update(static_cast<double>(done.value) / static_cast<double>(total.value));
                            },
                        .note = [&](const std::string& text) { console.note(text); },
                        .weights = request.weights,
                        .device_memory = memory_of(device)};
    if (device.open) wanted.open = [&](const DeviceOptions& options) { return device.open(options, ledger); };
    if (auto* planning = std::get_if<Planning>(&wanted.plan)) planning->request.routing = request.routing;
    return place(wanted, ledger);
}

std::vector<std::string> files_read(const po::variables_map& values) {
    std::vector<std::string> files;
    if (values.count("profile") > 0) files = profile_files(values["profile"].as<std::vector<std::string>>());
    if (const auto model = find_text(values, "model")) files.push_back(*model);
    return files;
}

ModelLoader file_loader(const std::string& path, const ModelDescription& model, Ledger& ledger) {
    return [path, &model, &ledger](const Plan& plan, const DeviceLoad& to) {
        return Model::load(open_model_file(path), model, plan, ledger, to);
    };
}

PlacedModel::Opened PlacedModel::open(const po::variables_map& values, const SessionOptions& session,
                                      const Console& console) {
    const DeviceRequest wanted = device_request(values);
    const auto& path = values["model"].as<std::string>();
    Opened opened{path, describe_file(open_model_file(path), allowed_unknown(values), console),
                  choose_device(wanted, console), session};
    opened.session.adaptation = wanted.adaptation;
    return opened;
}

PlacedModel::PlacedModel(const po::variables_map& values, const SessionOptions& session, const Console& console)
    : PlacedModel(open(values, session, console), console) {}

PlacedModel::PlacedModel(const Opened& opened, const Console& console)
    : device_(opened.device),
      placed_(open_placed({.model = opened.model,
                           .device = opened.device,
                           .session = opened.session,
                           .routing = {},
                           .load = file_loader(opened.path, opened.model, ledger_)},
                          console, ledger_)) {
    note_device(placed_, opened.device, console);
    if (const auto remark = context_remark(opened.model.hyper, opened.session.n_ctx))
        console.note("warning: " + *remark);
}

void PlacedModel::note_loss(const Console& console) const {
    if (const auto& loss = placed_.session().loss())
        console.note("the device was lost, the CPU went on alone (" + *loss + ")");
}

}  // namespace lfm::tools
