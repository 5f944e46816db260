#include "tools/plan/html.h"

#include "planner/cost/placement.h"
#include "tools/common/version.h"
#include "tools/html/text.h"
#include "tools/plan/html_parts.h"

namespace lfm::tools {
namespace {

std::string of_kind(std::string_view name, std::string_view kind, std::string_view content) {
    return element(name, attribute("class", kind), content);
}

/// `value` ends in its unit: "79.6 tok/s".
std::string tile(std::string_view name, std::string_view value, std::string_view note) {
    const std::size_t space = value.find(' ');
    const std::string unit = element("span", "", value.substr(space + 1));
    return element("div", "",
                   joined({element("dt", "", name), of_kind("dd", "value", joined({value.substr(0, space), " ", unit})),
                           of_kind("dd", "about", note)}));
}

std::string tiles(const Plan& plan) {
    std::string all;
    if (plan.decode.mid > 0)
        all += tile("Decode", figures(plan.decode.mid) + " tok/s",
                    range(plan.decode) + ", context of " + count(plan.depth));
    if (plan.prefill.mid > 0)
        all += tile("Prefill", figures(plan.prefill.mid) + " tok/s",
                    range(plan.prefill) + ", " + count(plan.sizes.n_batch) + " at a time");
    for (const DeviceId device : {kDevice, kHost}) {
        const Bytes limit = device == kHost ? plan.ram_budget : plan.vram_budget;
        if (limit.value > 0)
            all += tile(memory_name(device), format_bytes(plan.used(device)), "of a budget of " + format_bytes(limit));
    }
    return all.empty() ? "" : of_kind("dl", "tiles", all);
}

std::string verdict(const Plan& plan) {
    if (plan.used(kHost) > plan.ram_budget || plan.used(kDevice) > plan.vram_budget)
        return of_kind("p", "verdict", "It takes more than the budget.");
    std::string text = "It fits";
    if (plan.vram_budget.value == 0) text += ", on the CPU alone";
    if (plan.decode.mid > 0) text += ", and should generate about " + figures(plan.decode.mid) + " tokens a second";
    return of_kind("p", "verdict", text + ".");
}

std::string remarks(const Plan& plan) {
    std::string items;
    if (!plan.routing.empty() && plan.model.n_expert > 0)
        items += element("li", "", joined({"routing: ", escaped(plan.routing)}));
    for (const std::string& remark : plan.remarks) items += element("li", "", escaped(remark));
    return items.empty() ? "" : of_kind("ul", "remarks", items);
}

std::string about(const Plan& plan) {
    const PlanMachine& machine = plan.machine;
    std::string text = escaped(machine.name);
    if (!machine.device_name.empty())
        text += joined({", ", escaped(machine.device_name), " (", escaped(machine.device_backend), ")"});
    text += machine.measured_at.empty() ? "; from datasheets" : joined({"; measured ", escaped(machine.measured_at)});
    text += joined({"<br>weights ", format_bytes(plan.model.weights), "; context ", count(plan.sizes.n_ctx),
                    " tokens, batch ", count(plan.sizes.n_batch), ", cache ", dtype_name(plan.sizes.kv.k), " and ",
                    dtype_name(plan.sizes.kv.v)});
    return of_kind("p", "about", text);
}

/// The policy keeps a browser from running or fetching anything, whatever a name contains.
constexpr std::string_view kHead = R"html(
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
)html";

}  // namespace

std::string html_verdict(const PlanReport& report) {
    return element("header", "",
                   joined({of_kind("p", "kicker", "Placement plan"),
                           element("h1", "", element("bdi", "", escaped(report.model_name))), about(report.plan),
                           verdict(report.plan), tiles(report.plan), remarks(report.plan)}));
}

std::string plan_html(const PlanReport& report) {
    const Plan& plan = report.plan;
    const std::string title = element("title", "", joined({"Plan: ", escaped(report.model_name)}));
    const std::string main =
        joined({html_verdict(report), html_memory(plan), html_placement(plan), html_sweeps(report),
                html_step_time(plan), html_alternatives(plan), html_reasons(plan), html_commands(report)});
    const std::string footer = element("footer", "", joined({"lfm-plan ", escaped(kVersion)}));
    const std::string page =
        joined({"\n", element("head", "", joined({kHead, title, element("style", "", html_style())})),
                element("body", "", joined({"\n", element("main", "", main), footer}))});
    return joined({"<!DOCTYPE html>\n", element("html", attribute("lang", "en"), page)});
}

}  // namespace lfm::tools
