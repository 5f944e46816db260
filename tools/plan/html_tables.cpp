// What other splits would give, every layer's reasons, and the commands.
#include <algorithm>

#include "planner/cost/placement.h"
#include "tools/html/table.h"
#include "tools/html/text.h"
#include "tools/plan/html_parts.h"

namespace lfm::tools {
namespace {

std::string place(DeviceId device) { return device == kHost ? "RAM" : "device"; }

std::string speed_bar(double share, std::string_view fill) {
    const std::string bar =
        shape("rect", attribute("class", joined({"part ", fill})) + attribute("width", coordinate(share * 100) + "%") +
                          attribute("height", 14));
    return cell(
        element("svg", attribute("width", "100%") + attribute("height", 14) + attribute("aria-hidden", "true"), bar),
        "sized");
}

std::string reason(const std::vector<std::string>& reasons, std::size_t layer) {
    return layer < reasons.size() ? escaped(reasons[layer]) : "";
}

std::string experts_on_device(const Plan& plan, std::uint32_t layer) {
    const auto first = plan.experts.begin() + static_cast<std::ptrdiff_t>(std::size_t{layer} * plan.model.n_expert);
    std::string text = count(static_cast<std::uint64_t>(std::count(first, first + plan.model.n_expert, kDevice)));
    if (plan.n_slots[layer] > 0) text += " + " + count(plan.n_slots[layer]) + " slots";
    return text;
}

std::string layer_row(const Plan& plan, std::uint32_t layer) {
    const bool dense = plan.model.n_expert == 0 || layer < plan.model.n_layer_dense;
    std::string why = reason(plan.layer_reasons, layer);
    const std::string expert_why = reason(plan.expert_reasons, layer);
    if (!expert_why.empty()) why += joined({"<br>Experts: ", expert_why});
    return row(row_name(count(layer), Column::kNumber) +
               cell(dense ? "dense FFN" : count(plan.model.n_expert) + " experts") + cell(place(plan.layers[layer])) +
               number_cell(dense ? "" : experts_on_device(plan, layer)) + cell(why));
}

std::string command(std::string_view what, const std::string& text) {
    if (text.empty()) return {};
    return element("p", "", what) + element("pre", "", element("code", "", escaped(text)));
}

}  // namespace

std::string html_alternatives(const Plan& plan) {
    if (plan.alternatives.empty() || !(plan.decode.mid > 0)) return {};
    double most = plan.decode.mid;
    for (const Alternative& other : plan.alternatives) most = std::max(most, other.decode);
    const auto split = [&](const std::string& name, double speed, std::string_view fill, std::string_view kind) {
        return row(row_name(escaped(name)) + number_cell(figures(speed)) +
                       number_cell(percent(speed / plan.decode.mid)) + speed_bar(speed / most, fill),
                   kind);
    };
    std::string rows = split("this plan", plan.decode.mid, "device shade-1", "chosen");
    for (const Alternative& other : plan.alternatives) rows += split(other.name, other.decode, "ram shade-4", "");
    const std::vector<Heading> headings{
        {"Split"}, {"tok/s", Column::kNumber}, {"of this plan", Column::kNumber}, {"compared"}};
    return section("alternatives", "Other ways to split, same budgets",
                   scrolled("Other ways to split", table(headings, rows)));
}

std::string html_reasons(const Plan& plan) {
    if (!has_placement(plan)) return {};
    const auto matrix = [](const char* what, DeviceId device, const std::string& why) {
        return row(cell("") + cell(what) + cell(place(device)) + cell("") + cell(escaped(why)));
    };
    std::string rows = matrix("embedding", plan.embedding, "");
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer) rows += layer_row(plan, layer);
    rows += matrix("output", plan.output, plan.output_reason);
    const std::vector<Heading> headings{
        {"Layer", Column::kNumber}, {"Kind"}, {"Home"}, {"Experts on device", Column::kNumber}, {"Why"}};
    return section("reasons", "Why, layer by layer",
                   element("details", "",
                           element("summary", "", "All " + count(plan.model.n_layer) + " layers with their reasons") +
                               scrolled("Layers and reasons", table(headings, rows, "reasons"))));
}

std::string html_commands(const PlanReport& report) {
    return section("commands", "Commands",
                   command("To run it as planned", report.command) +
                       command("To measure what it predicts", report.verify_command));
}

}  // namespace lfm::tools
