#include "tools/run/device_text.h"

#include <cstdio>

#include "planner/cost/placement.h"
#include "tools/plan/text.h"

namespace lfm::tools {
namespace {

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 100 ? "%.1f" : "%.0f", value);
    return text;
}

std::string percent(double share) {
    char text[32];
    std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
    return text;
}

double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string device_text(const RunModel& model) {
    const Device* device = model.placed().device();
    if (device == nullptr) return "";
    const Plan& plan = model.placed().plan();
    const Engine& engine = model.placed().session().engine();
    const RunTotals& totals = engine.totals();
    std::string text = model.device_name() + ": ";
    if (plan.decode.mid > 0)
        text += "predicted " + number(plan.decode.mid) + " tok/s (" + number(plan.decode.low) + " to " +
                number(plan.decode.high) + "), ";
    if (totals.n_decoded > 0)
        text += "measured " + number(static_cast<double>(totals.n_decoded) / totals.decode.total) + "; ";
    text += "peak " + format_bytes(device->peak()) + " of " + format_bytes(plan.vram_budget);
    const CacheHits hits = engine.residency().hits();
    if (hits.total() > 0)
        text += "; experts found there " + percent(hits.rate()) + " (pinned " +
                percent(share(hits.pinned, hits.total())) + ", cached " + percent(share(hits.cached, hits.total())) +
                ")";
    if (totals.n_decoded > 0 && totals.decode.host > 0)
        text += "; CPU at work " + percent(totals.decode.host / totals.decode.total) + " of the time";
    const Bytes moved = totals.streamed + engine.residency().fetched();
    return text + "; " + format_bytes(moved) + " of experts over the bus";
}

std::string device_trouble(const RunModel& model) {
    const Session& session = model.placed().session();
    if (session.loss()) return "the device was lost (" + *session.loss() + "): the CPU went on alone";
    const Bytes given_up = session.engine().totals().given_up;
    if (given_up.value == 0) return "";
    return "other programs or the driver took VRAM: " + format_bytes(given_up) + " of expert slots were given up";
}

std::string device_remarks(const RunModel& model) {
    if (std::string trouble = device_trouble(model); !trouble.empty()) return trouble;
    const auto& learnt = model.placed().session().engine().learnt();
    if (!learnt || !learnt->host_factor) return "";
    const double off = *learnt->host_factor - 1;
    if (off > -CostLearner::kLeastDifference && off < CostLearner::kLeastDifference) return "";
    return "learnt: the CPU takes " + number(*learnt->host_factor) +
           " times as long for its experts as the machine's profile says; what travels to the device is decided by "
           "that now";
}

std::string upload_text(const RunModel& model) {
    Uploaded uploaded = model.model().uploaded();
    uploaded += model.placed().session().engine().residency().uploaded();
    return format_bytes(uploaded.bytes) + " to " + model.device_name() + " in " + number(uploaded.seconds) + " s, " +
           number(uploaded.gb_per_s()) + " GB/s";
}

std::string registered_text(const RunModel& model) {
    const Session& session = model.placed().session();
    if (session.loss() || model.placed().device() == nullptr) return "";
    const RegisteredExperts& experts = session.engine().registered();
    if (experts.wanted().value == 0) return "";
    return "registered " + format_bytes(experts.registered()) + " of " + format_bytes(experts.wanted()) +
           " of cold experts with the driver";
}

std::string memory_text(const Ledger& ledger, const RunModel& model) {
    std::string text;
    for (const LedgerLine& line : ledger.lines())
        text += (line.device == kHost ? std::string("RAM") : model.device_name()) + ": " +
                std::string(purpose_name(line.purpose)) + " " + format_bytes(line.bytes) + "\n";
    const std::string registered = registered_text(model);
    return registered.empty() ? text : text + "RAM: " + registered + "\n";
}

std::string plan_in_use(const RunModel& model) {
    const Plan& plan = model.placed().plan();
    if (plan.memory.empty()) return "everything in RAM; lfm-plan says what a GPU would bring\n";
    return plan_text({.plan = plan, .model_name = plan.model.name}, Glyphs::kAscii);
}

}  // namespace lfm::tools
