// The report of a plan as text: sound HTML, nothing fetched, every number in it.
#include "tools/plan/html.h"

#include <algorithm>
#include <limits>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "planner/cost/placement.h"
#include "tests/tools/plan/plan_reports.h"
#include "tools/html/text.h"

namespace lfm::test {
namespace {

using tools::plan_html;

std::string page_of(const PlanCase& wanted) { return plan_html(ReportedPlan(wanted).report()); }

std::size_t occurrences(const std::string& text, const std::string& wanted) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(wanted, at)) != std::string::npos; at += wanted.size()) ++n;
    return n;
}

/// The first thing that is wrong with the tags; empty: each is closed where it should be.
std::string tag_fault(const std::string& html) {
    static const std::set<std::string> kVoid{"meta", "br"};
    std::vector<std::string> open;
    for (std::size_t at = 0; (at = html.find('<', at)) != std::string::npos;) {
        const std::size_t end = html.find('>', at);
        if (end == std::string::npos) return "no > after " + html.substr(at, 40);
        const std::string tag = html.substr(at + 1, end - at - 1);
        at = end + 1;
        if (tag.starts_with("!DOCTYPE")) continue;
        if (tag.find('<') != std::string::npos) return "< within " + tag;
        if (std::ranges::count(tag, '"') % 2 != 0) return "odd quotes in " + tag;
        const std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" /\n", 1) - (tag[0] == '/'));
        if (tag[0] == '/') {
            if (open.empty() || open.back() != name)
                return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
            open.pop_back();
        } else if (tag.back() != '/' && !kVoid.contains(name)) {
            open.push_back(name);
        }
        if (name == "style" && tag[0] != '/') at = html.find("</style>", at);
    }
    return open.empty() ? "" : "never closed: " + open.back();
}

/// Path data of all squares of one kind: "expert on-device".
std::string squares(const std::string& html, const std::string& kind) {
    const std::string begin = "<path class=\"" + kind + "\" d=\"";
    const std::size_t at = html.find(begin);
    if (at == std::string::npos) return {};
    return html.substr(at + begin.size(), html.find('"', at + begin.size()) - at - begin.size());
}

std::size_t n_squares(const std::string& html, const std::string& kind) {
    return occurrences(squares(html, kind), "M");
}

const std::vector<PlanCase>& cases() {
    static const std::vector<PlanCase> all{
        partly_on_device(),
        small_share_on_device(),
        dense(),
        without_device(),
        {"lfm2-8b-a1b:Q4_K_M", {"machine/ryzen-ai-max-395"}, std::nullopt, 0},
        {"lfm2moe,n_layer=130,n_expert=256:Q8_0", {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}, gibibytes(4), 0.5},
        {"lfm2,n_layer=200:Q8_0", {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}, gibibytes(1), 0}};
    return all;
}

TEST(PlanHtml, TagsAreBalanced) {
    for (const PlanCase& wanted : cases()) EXPECT_EQ(tag_fault(page_of(wanted)), "") << wanted.shape;
    EXPECT_NE(tag_fault("<p><b></p></b>"), "");
    EXPECT_NE(tag_fault("<svg><rect></svg>"), "");
}

TEST(PlanHtml, FetchesAndRunsNothing) {
    for (const PlanCase& wanted : cases()) {
        const std::string html = page_of(wanted);
        for (const char* forbidden :
             {"http:", "https:", "//", "<script", "<link", "<img", "src=", "href=", "url(", "@import", "onload"})
            EXPECT_EQ(html.find(forbidden), std::string::npos) << forbidden << " in the report of " << wanted.shape;
        EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
    }
}

TEST(PlanHtml, EveryHeadingIsItsSectionsName) {
    const std::string html = page_of(partly_on_device());
    for (const char* id :
         {"memory", "placement", "budgets", "contexts", "time", "alternatives", "reasons", "commands"}) {
        EXPECT_EQ(occurrences(html, "aria-labelledby=\"" + std::string(id) + "\""), 1u) << id;
        EXPECT_EQ(occurrences(html, "<h2 id=\"" + std::string(id) + "\""), 1u) << id;
    }
}

TEST(PlanHtml, NamesFromFilesAreText) {
    ReportedPlan reported(dense());
    const std::string hostile = "</title><script>alert(\"1\" & '2')</script>\x01\xff\xe2\x80\xae";
    const std::string shown =
        "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\uFFFD\uFFFD\uFFFD";
    Plan& plan = reported.plan();
    plan.machine.name = plan.machine.device_name = plan.machine.device_backend = plan.machine.measured_at = hostile;
    plan.routing = plan.output_reason = hostile;
    plan.remarks.push_back(hostile);
    plan.alternatives.push_back({hostile, 1});
    plan.layer_reasons[0] = plan.expert_reasons[1] = hostile;
    tools::PlanReport report = reported.report();
    report.model_name = report.command = report.verify_command = hostile;
    const std::string html = plan_html(report);
    EXPECT_EQ(tag_fault(html), "");
    EXPECT_EQ(html.find("<script"), std::string::npos);
    // Title, heading, machine, device (twice), backend, time, remark, split, three reasons, two commands.
    EXPECT_GE(occurrences(html, shown), 13u);
}

bool has_number(const std::string& row, Bytes bytes) {
    return row.find(format_bytes(bytes) + "</td>") != std::string::npos;
}

TEST(PlanHtml, EveryNumberOfTheMemoryTable) {
    for (const PlanCase& wanted : cases()) {
        ReportedPlan reported(wanted);
        const std::string html = plan_html(reported.report());
        const std::size_t begin = html.find("<table class=\"narrow\">", html.find("<h2 id=\"memory\""));
        ASSERT_NE(begin, std::string::npos);
        const std::string table = html.substr(begin, html.find("</table>", begin) - begin);
        const auto row = [&](const std::string& name) {
            const std::size_t at = table.find("<th scope=\"row\">" + name + "</th>");
            return at == std::string::npos ? "" : table.substr(at, table.find("</tr>", at) - at);
        };
        for (const MemoryLine& line : reported.plan().memory)
            EXPECT_TRUE(has_number(row(memory_use_name(line.use)), line.bytes))
                << memory_use_name(line.use) << " of " << wanted.shape;
        for (const DeviceId device : {kHost, kDevice}) {
            if (reported.plan().used(device).value == 0) continue;
            const Bytes budget = device == kHost ? reported.plan().ram_budget : reported.plan().vram_budget;
            EXPECT_TRUE(has_number(row("used"), reported.plan().used(device)));
            EXPECT_TRUE(has_number(row("budget"), budget));
        }
    }
}

TEST(PlanHtml, ASquareForEveryExpert) {
    for (const PlanCase& wanted : {partly_on_device(), small_share_on_device()}) {
        ReportedPlan reported(wanted);
        const std::string html = plan_html(reported.report());
        ASSERT_GT(reported.plan().n_experts_on(kDevice), 0u);
        EXPECT_EQ(n_squares(html, "expert on-device"), reported.plan().n_experts_on(kDevice)) << wanted.shape;
        EXPECT_EQ(n_squares(html, "expert in-ram"), reported.plan().n_experts_on(kHost)) << wanted.shape;
        EXPECT_EQ(n_squares(html, "home on-device") + n_squares(html, "home in-ram"), 40u);
        EXPECT_EQ(occurrences(html, ">dense FFN</text>"), 2u);
    }
}

TEST(PlanHtml, DenseLayersAsSquares) {
    ReportedPlan reported(dense());
    const std::string html = plan_html(reported.report());
    const auto n_device = static_cast<std::size_t>(std::ranges::count(reported.plan().layers, kDevice));
    EXPECT_GT(n_device, 0u);
    EXPECT_LT(n_device, 16u);
    EXPECT_EQ(n_squares(html, "layer on-device"), n_device);
    EXPECT_EQ(n_squares(html, "layer in-ram"), 16 - n_device);
    EXPECT_EQ(html.find("expert on-device"), std::string::npos);
}

TEST(PlanHtml, SharedSquaresAreFilledByTheirShare) {
    ReportedPlan reported(
        {"lfm2moe,n_layer=130,n_expert=256:Q8_0", {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}, gibibytes(4), 0.5});
    const Plan& plan = reported.plan();
    const std::string html = plan_html(reported.report());
    // Rows of 3 layers, 64 squares of 4 experts, 11 pixels of which 10 are filled. The first row has one layer with
    // experts, so a square there stands for 4; the last row one layer.
    ASSERT_EQ(plan.model.n_layer_dense, 2u);
    const std::string path = squares(html, "expert on-device");
    const std::string last_row = std::to_string(34 + 43 * 13);
    double n = 0;
    const std::regex rectangle("M[0-9.]+ ([0-9.]+)h([0-9.]+)");
    for (std::sregex_iterator at(path.begin(), path.end(), rectangle), end; at != end; ++at)
        n += std::stod((*at)[2]) / 10 * ((*at)[1] == "34" || (*at)[1] == last_row ? 4 : 12);
    EXPECT_GT(n, 0);
    EXPECT_NEAR(n, plan.n_experts_on(kDevice), 0.001 * plan.n_experts_on(kDevice));
}

TEST(PlanHtml, LargestModelsStaySmallFiles) {
    ReportedPlan reported(without_device());
    Plan& plan = reported.plan();
    plan.vram_budget = gibibytes(1);
    plan.model.n_layer = 1024, plan.model.n_layer_dense = 1, plan.model.n_expert = 1024;
    plan.layers.assign(1024, kDevice);
    plan.n_slots.assign(1024, 0);
    plan.experts.resize(std::size_t{1024} * 1024);
    for (std::size_t i = 0; i < plan.experts.size(); ++i) plan.experts[i] = i % 3 == 0 ? kDevice : kHost;
    const std::string html = plan_html(reported.report());
    EXPECT_EQ(tag_fault(html), "");
    EXPECT_LE(n_squares(html, "expert on-device"), 64u * 64u);
    EXPECT_LT(html.size(), 1'000'000u);
}

TEST(PlanHtml, WithoutDevice) {
    const std::string html = page_of(without_device());
    EXPECT_NE(html.find("Everything lives in RAM: 24 of 24 layers, 704 of 704 experts."), std::string::npos);
    EXPECT_NE(html.find("on the CPU alone"), std::string::npos);
    EXPECT_EQ(html.find("<h2 id=\"budgets\""), std::string::npos);
}

TEST(PlanHtml, APlanWithoutNumbers) {
    const Plan plan = make_host_plan(describe_shape("lfm2moe:Q8_0"), {.n_ctx = 512});
    const std::string html = plan_html({plan, "tiny", "", "", {}, {}});
    EXPECT_EQ(tag_fault(html), "");
    EXPECT_EQ(html.find("<h2 id=\"memory\""), std::string::npos);
    EXPECT_EQ(html.find("<h2 id=\"commands\""), std::string::npos);
}

TEST(PlanHtml, NumbersThatAreNone) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                     kInfinity = std::numeric_limits<double>::infinity();
    ReportedPlan reported(partly_on_device());
    Plan& plan = reported.plan();
    plan.decode = {kNan, kInfinity, kInfinity};
    plan.prefill = {0, 1e308, kInfinity};
    plan.decode_time[TimePart::kBus] = kInfinity;
    plan.alternatives[0].decode = kNan;
    tools::PlanReport report = reported.report();
    report.budgets = {{0, Prediction{kNan, 1, 2}, Prediction{1e-310, 1e-310, 1e-310}},
                      {~std::uint64_t{0}, Prediction{1, 2, kInfinity}, Prediction{0, 0, 0}}};
    report.contexts = {{0, Prediction{1, 2, 3}, std::nullopt}, {0, Prediction{1, 2, 3}, std::nullopt}};
    const std::string html = plan_html(report);
    EXPECT_EQ(tag_fault(html), "");
    EXPECT_FALSE(std::regex_search(html, std::regex("[ \"-](nan|inf)[ \"%,]")));
}

TEST(PlanHtml, TheNextGib) {
    ReportedPlan reported(partly_on_device());
    tools::PlanReport report = reported.report();
    EXPECT_EQ(plan_html(report).find("With one GiB more"), std::string::npos);
    const double now = reported.plan().decode.mid;
    report.next_gib = tools::SweepPoint{gibibytes(9).value, Prediction{now, now * 1.25, now * 2}, std::nullopt};
    EXPECT_NE(
        plan_html(report).find("With one GiB more, 9.00 GiB: " + tools::figures(now * 1.25) + " tok/s, 25 % more."),
        std::string::npos);
    report.next_gib->decode->mid = now;
    EXPECT_NE(plan_html(report).find("nothing more."), std::string::npos);
}

TEST(PlanHtml, APlanAtAnotherDepthIsNotMarkedAmongContexts) {
    ReportedPlan reported(without_device());
    EXPECT_EQ(occurrences(plan_html(reported.report()), "class=\"chosen\" r="), 2u);
    reported.plan().depth = 100;
    EXPECT_EQ(occurrences(plan_html(reported.report()), "class=\"chosen\" r="), 0u);
}

TEST(PlanHtml, OverTheBudgetIsSaid) {
    ReportedPlan reported(dense());
    reported.plan().vram_budget = {reported.plan().used(kDevice).value - 1};
    EXPECT_NE(plan_html(reported.report()).find("It takes more than the budget."), std::string::npos);
}

}  // namespace
}  // namespace lfm::test
