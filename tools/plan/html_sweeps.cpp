// Speed over budget and over context.
#include <algorithm>

#include "tools/html/chart.h"
#include "tools/html/table.h"
#include "tools/html/text.h"
#include "tools/plan/html_parts.h"

namespace lfm::tools {
namespace {

struct Sweep {
    std::string name;  // of x
    ChartAxis axis;
    std::vector<SweepPoint> points;
    std::optional<std::uint64_t> chosen;  // x of the plan, when its prediction is comparable

    std::string x_text(std::uint64_t x) const { return axis == ChartAxis::kBytes ? format_bytes({x}) : count(x); }
};

std::string chart(const Sweep& sweep, const std::string& title, std::optional<Prediction> SweepPoint::*what,
                  const Prediction& chosen) {
    LineChart chart{.title = title, .x_name = sweep.name, .axis = sweep.axis};
    for (const SweepPoint& point : sweep.points) chart.points.push_back({static_cast<double>(point.x), point.*what});
    if (sweep.chosen && chosen.mid > 0) {
        chart.mark = ChartPoint{static_cast<double>(*sweep.chosen), chosen};
        chart.mark_label = joined({sweep.x_text(*sweep.chosen), ": ", figures(chosen.mid)});
    }
    return line_chart(chart);
}

std::string prediction_cells(const std::optional<Prediction>& prediction) {
    if (!prediction) return number_cell("does not fit") + cell("");
    return number_cell(figures(prediction->mid)) + number_cell(range(*prediction));
}

std::string numbers(const Sweep& sweep) {
    const std::vector<Heading> headings{{sweep.name, Column::kNumber},
                                        {"decode, tok/s", Column::kNumber},
                                        {"range", Column::kNumber},
                                        {"prefill, tok/s", Column::kNumber},
                                        {"range", Column::kNumber}};
    std::string rows;
    for (const SweepPoint& point : sweep.points)
        rows += row(row_name(sweep.x_text(point.x), Column::kNumber) + prediction_cells(point.decode) +
                        prediction_cells(point.prefill),
                    point.x == sweep.chosen ? "chosen" : "");
    return element(
        "details", "",
        element("summary", "", "The numbers as a table") + scrolled("Speed by " + sweep.name, table(headings, rows)));
}

std::string sweep_content(const Plan& plan, Sweep sweep) {
    if (sweep.points.empty()) return {};
    std::ranges::sort(sweep.points, {}, &SweepPoint::x);
    const std::string charts = chart(sweep, "Decode, tok/s", &SweepPoint::decode, plan.decode) +
                               chart(sweep, "Prefill, tok/s", &SweepPoint::prefill, plan.prefill);
    std::string note = "Line: the prediction. Band: its uncertainty.";
    if (sweep.chosen) note += " Circle: this plan.";
    if (std::ranges::any_of(sweep.points, [](const SweepPoint& point) { return !point.decode; }))
        note += " Cross: no placement fits.";
    const std::string drawn = charts.empty() ? ""
                                             : element("p", attribute("class", "note"), note) +
                                                   element("div", attribute("class", "charts"), charts);
    return drawn + numbers(sweep);
}

std::string next_gib(const PlanReport& report) {
    if (!report.next_gib || !report.next_gib->decode || !(report.plan.decode.mid > 0)) return {};
    const double speed = report.next_gib->decode->mid, more = speed - report.plan.decode.mid;
    std::string text =
        joined({"With one GiB more, ", format_bytes({report.next_gib->x}), ": ", figures(speed), " tok/s, "});
    text += more > 0.0005 * speed ? percent(more / report.plan.decode.mid) + " more." : "nothing more.";
    return element("p", "", text);
}

}  // namespace

std::string html_sweeps(const PlanReport& report) {
    const Plan& plan = report.plan;
    const std::string budgets =
        sweep_content(plan, {"VRAM budget", ChartAxis::kBytes, report.budgets, plan.vram_budget.value});
    Sweep contexts{"tokens of context", ChartAxis::kDoublings, report.contexts, std::nullopt};
    if (plan.depth == plan.sizes.n_ctx / 2) contexts.chosen = plan.sizes.n_ctx;
    return section("budgets", "Speed over VRAM budget", next_gib(report) + budgets) +
           section("contexts", "Speed over context, half of it in use", sweep_content(plan, contexts));
}

}  // namespace lfm::tools
