// The report of a plan as a browser draws it.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "planner/cost/placement.h"
#include "tests/tools/browser.h"
#include "tests/tools/plan/plan_reports.h"
#include "tools/plan/html.h"

namespace lfm::test {
namespace {

using tools::plan_html;

class PlanHtmlBrowser : public testing::Test {
protected:
    void SetUp() override {
        if (find_chromium().empty()) GTEST_SKIP() << "no Chromium is installed (Debian package chromium)";
        if (!can_read_png()) GTEST_SKIP() << "built without stb_image (Debian package libstb-dev)";
    }
    const Browser browser_{find_chromium()};
};

/// "--page: #fcfcfa": the first is for light, the second for dark.
Colour colour_of(const std::string& html, const std::string& name, Scheme scheme) {
    std::size_t at = html.find("--" + name + ": #");
    if (scheme == Scheme::kDark) at = html.find("--" + name + ": #", at + 1);
    const unsigned long number = std::stoul(html.substr(html.find('#', at) + 1, 6), nullptr, 16);
    return {static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8 & 255),
            static_cast<std::uint8_t>(number & 255)};
}

std::vector<Box> boxes_of(const Layout& layout, const std::string& selector) {
    std::vector<Box> boxes;
    std::ranges::copy_if(layout.boxes, std::back_inserter(boxes), [&](const Box& box) { return box.what == selector; });
    return boxes;
}

struct Counts {
    double device = 0, ram = 0;
};

/// Pixels of the map's squares, which all have the same size.
Counts count_squares(const Picture& picture, const std::vector<Box>& parts, const std::string& html, Scheme scheme) {
    double left = 1e9, top = 1e9, right = 0, bottom = 0;
    for (const Box& part : parts) {
        left = std::min(left, part.left), right = std::max(right, part.right());
        top = std::min(top, part.top), bottom = std::max(bottom, part.bottom());
    }
    const Colour device = colour_of(html, "device", scheme), ram = colour_of(html, "ram", scheme),
                 edge = colour_of(html, "edge", scheme);
    Counts counts;
    for (int y = static_cast<int>(top); y < std::min<int>(static_cast<int>(bottom) + 1, picture.height); ++y)
        for (int x = static_cast<int>(left); x < static_cast<int>(right) + 1; ++x) {
            const Colour& pixel = picture.at(x, y);
            counts.device += pixel.is_near(device);
            counts.ram += pixel.is_near(ram) || pixel.is_near(edge);
        }
    return counts;
}

TEST_F(PlanHtmlBrowser, TheMapShowsTheShareOnTheDevice) {
    for (const PlanCase& wanted : {partly_on_device(), small_share_on_device()}) {
        ReportedPlan reported(wanted);
        const std::string html = plan_html(reported.report());
        const Layout layout = browser_.layouts(html, {1280}, {"path.expert"})[0];
        const auto parts = boxes_of(layout, "path.expert");
        ASSERT_EQ(parts.size(), 2u);
        for (const Scheme scheme : {Scheme::kLight, Scheme::kDark}) {
            const auto picture = browser_.screenshot(html, {1280, static_cast<int>(layout.page_height)}, scheme);
            ASSERT_TRUE(picture);
            const Counts counts = count_squares(*picture, parts, html, scheme);
            const double expected = reported.plan().n_experts_on(kDevice);
            const double share = expected / (expected + reported.plan().n_experts_on(kHost));
            EXPECT_GT(counts.device, 10000);
            EXPECT_NEAR(counts.device / (counts.device + counts.ram), share, 0.05 * share) << wanted.shape;
        }
    }
}

/// The first run of pixels in row `y` from `begin` to `end` that is not of `ground`; its middle, or -1.
double first_mark(const Picture& picture, int y, double begin, double end, Colour ground) {
    for (int x = static_cast<int>(begin); x < static_cast<int>(end); ++x) {
        if (picture.at(x, y).is_near(ground)) continue;
        int last = x;
        while (last + 1 < static_cast<int>(end) && !picture.at(last + 1, y).is_near(ground)) ++last;
        return (x + last + 1) / 2.0;
    }
    return -1;
}

TEST_F(PlanHtmlBrowser, TheBudgetLineIsAtTheBudget) {
    ReportedPlan reported(small_share_on_device());
    const Plan& plan = reported.plan();
    const std::string html = plan_html(reported.report());
    const Colour page = colour_of(html, "page", Scheme::kLight);
    const std::vector<int> widths{1280, 400};
    const std::vector<Layout> layouts = browser_.layouts(html, widths, {"svg.bar"});
    for (std::size_t w = 0; w < widths.size(); ++w) {
        const auto picture =
            browser_.screenshot(html, {widths[w], static_cast<int>(layouts[w].page_height)}, Scheme::kLight);
        ASSERT_TRUE(picture);
        const auto bars = boxes_of(layouts[w], "svg.bar");
        ASSERT_EQ(bars.size(), 3u);  // VRAM, RAM, time
        for (const DeviceId device : {kDevice, kHost}) {
            const Box& bar = bars[device == kDevice ? 0 : 1];
            const auto budget = static_cast<double>((device == kDevice ? plan.vram_budget : plan.ram_budget).value);
            const auto used = static_cast<double>(plan.used(device).value);
            const double per_byte = bar.width * 0.98 / std::max(used, budget);
            // Between the parts' names and the bar only the line is drawn; within the bar, what is used.
            const int above = static_cast<int>(bar.top) + 33, within = static_cast<int>(bar.top) + 50;
            const double line = first_mark(*picture, above, bar.left, bar.right(), page);
            EXPECT_NEAR(line, bar.left + budget * per_byte, 1.5) << widths[w];
            int end = static_cast<int>(line) - 3;
            while (end > bar.left && picture->at(end, within).is_near(page)) --end;
            EXPECT_NEAR(end, bar.left + used * per_byte, 4) << widths[w];
        }
    }
}

TEST_F(PlanHtmlBrowser, LightAndDark) {
    const std::string html = plan_html(ReportedPlan(dense()).report());
    const auto light = browser_.screenshot(html, {}, Scheme::kLight),
               dark = browser_.screenshot(html, {}, Scheme::kDark);
    ASSERT_TRUE(light && dark);
    EXPECT_TRUE(light->at(2, 2).is_near(colour_of(html, "page", Scheme::kLight)));
    EXPECT_TRUE(dark->at(2, 2).is_near(colour_of(html, "page", Scheme::kDark)));
    EXPECT_GT(light->at(2, 2).green, 200);
    EXPECT_LT(dark->at(2, 2).green, 60);
    // Text is drawn in both: each has many pixels far from its ground.
    for (const auto* picture : {&*light, &*dark}) {
        const Colour ground = picture->at(2, 2);
        EXPECT_GT(std::ranges::count_if(
                      picture->pixels, [&](const Colour& pixel) { return std::abs(pixel.green - ground.green) > 100; }),
                  2000);
    }
}

std::vector<std::string> open_pages() {
    std::vector<std::string> pages;
    for (const PlanCase& wanted : {partly_on_device(), small_share_on_device(), dense(), without_device()})
        pages.push_back(plan_html(ReportedPlan(wanted).report()));
    ReportedPlan long_names(partly_on_device());
    const std::string name(300, 'W');
    long_names.plan().machine.name = long_names.plan().machine.device_name = name;
    long_names.plan().remarks.push_back(name);
    long_names.plan().alternatives.push_back({name, 20});
    long_names.plan().layer_reasons[0] = name;
    tools::PlanReport report = long_names.report();
    report.model_name = report.command = name;
    pages.push_back(plan_html(report));
    for (std::string& page : pages)
        for (std::size_t at = 0; (at = page.find("<details>", at)) != std::string::npos; ++at)
            page.replace(at, 9, "<details open>");
    return pages;
}

int n_marked_at_the_right_edge(const Picture& picture, Colour page) {
    int n = 0;
    for (int y = 0; y < picture.height; ++y)
        for (int x = picture.width - 6; x < picture.width; ++x) n += !picture.at(x, y).is_near(page);
    return n;
}

/// Text of bars and charts that another text covers or that leaves the page.
std::string label_fault(const Layout& layout, int width) {
    for (std::size_t i = 0; i < layout.texts.size(); ++i) {
        const Box& a = layout.texts[i];
        if (a.left < 0 || a.right() > width) return a.what + " leaves the page";
        for (std::size_t j = 0; j < i; ++j) {
            const Box& b = layout.texts[j];
            const double x = std::min(a.right(), b.right()) - std::max(a.left, b.left);
            const double y = std::min(a.bottom(), b.bottom()) - std::max(a.top, b.top);
            if (x > 0 && y > 4) return a.what + " covers " + b.what;  // a line's box is higher than its letters
        }
    }
    return {};
}

TEST_F(PlanHtmlBrowser, NothingOverflowsOrOverlaps) {
    for (const std::string& html : open_pages()) {
        const std::string title = html.substr(html.find("<title>"), 60);
        const std::vector<int> widths{360, 400, 720, 1280};
        const std::vector<Layout> layouts = browser_.layouts(html, widths, {});
        for (std::size_t i = 0; i < widths.size(); ++i) {
            EXPECT_EQ(layouts[i].page_width, widths[i]) << title;
            EXPECT_GT(layouts[i].texts.size(), 10u);
            EXPECT_EQ(label_fault(layouts[i], widths[i]), "") << title << ", width " << widths[i];
        }
        const auto picture = browser_.screenshot(html, {400, static_cast<int>(layouts[1].page_height)}, Scheme::kLight);
        ASSERT_TRUE(picture);
        EXPECT_EQ(n_marked_at_the_right_edge(*picture, colour_of(html, "page", Scheme::kLight)), 0) << title;
    }
}

}  // namespace
}  // namespace lfm::test
