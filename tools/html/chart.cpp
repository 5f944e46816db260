#include "tools/html/chart.h"

#include <algorithm>
#include <cmath>

#include "tools/html/axis.h"
#include "tools/html/text.h"

namespace lfm::tools {
namespace {

// In pixels of a drawing that shrinks with the page.
constexpr double kWidth = 460, kHeight = 250, kLeft = 46, kRight = 446, kTop = 30, kBottom = 200;

std::string line(const char* kind, double x1, double y1, double x2, double y2) {
    return shape("line", attribute("class", kind) + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
                             attribute("y2", y2));
}

std::string circle(const char* kind, double x, double y, double radius) {
    return shape("circle", attribute("class", kind) + attribute("r", radius) + attribute("cx", x) + attribute("cy", y));
}

std::string label(const char* kind, const char* anchor, double x, double y, const std::string& text) {
    return element("text",
                   attribute("class", kind) + attribute("text-anchor", anchor) + attribute("x", x) + attribute("y", y),
                   escaped(text));
}

bool is_drawable(const ChartPoint& point) {
    return point.y && std::isfinite(point.y->low) && std::isfinite(point.y->mid) && std::isfinite(point.y->high);
}

class Drawing {
public:
    explicit Drawing(const LineChart& chart) : chart_(chart) {
        first_ = chart.axis == ChartAxis::kBytes ? 0 : std::max(1.0, chart.points.front().x);
        last_ = std::max(chart.points.back().x, first_);
        for (const ChartPoint& point : chart.points)
            if (is_drawable(point)) highest_ = std::max({highest_, point.y->mid, point.y->high});
        if (chart.mark && is_drawable(*chart.mark)) highest_ = std::max(highest_, chart.mark->y->mid);
        highest_ *= 1.04;
    }

    std::string svg() const {
        const std::string description =
            chart_.title + " over " + chart_.x_name + "; the numbers are in the table below";
        const std::string box = joined({"0 0 ", coordinate(kWidth), " ", coordinate(kHeight)});
        return element("svg", attribute("class", "chart") + attribute("role", "img") + attribute("viewBox", box),
                       element("title", "", escaped(description)) + axes() + curves() + misses() + mark());
    }

private:
    double x(double value) const {
        if (last_ <= first_) return (kLeft + kRight) / 2;
        const double share = chart_.axis == ChartAxis::kBytes
                                 ? (value - first_) / (last_ - first_)
                                 : std::log2(std::max(value, first_) / first_) / std::log2(last_ / first_);
        return kLeft + share * (kRight - kLeft);
    }
    double y(double value) const { return kBottom - (highest_ > 0 ? value / highest_ : 0) * (kBottom - kTop); }

    std::string axes() const {
        std::string text;
        for (const Tick& tick : number_ticks(highest_))
            text += line("grid", kLeft, y(tick.at), kRight, y(tick.at)) +
                    label("quiet", "end", kLeft - 6, y(tick.at) + 4, tick.label);
        const auto ticks = chart_.axis == ChartAxis::kBytes ? byte_ticks(last_) : doubling_ticks(first_, last_);
        for (const Tick& tick : ticks) {
            const double at = x(tick.at);
            const bool at_the_edge = at > kRight - 20;
            text +=
                line("axis", at, kBottom, at, kBottom + 5) +
                label("quiet", at_the_edge ? "end" : "middle", at_the_edge ? at + 10 : at, kBottom + 19, tick.label);
        }
        text += line("axis", kLeft, kBottom, kRight, kBottom);
        return text + label("quiet", "middle", (kLeft + kRight) / 2, kHeight - 8, chart_.x_name);
    }

    /// Points that follow each other without a gap become one line.
    std::string curves() const {
        std::string text;
        for (auto begin = chart_.points.begin(); begin != chart_.points.end();) {
            begin = std::find_if(begin, chart_.points.end(), is_drawable);
            const auto end = std::find_if_not(begin, chart_.points.end(), is_drawable);
            text += curve(begin, end);
            begin = end;
        }
        return text;
    }

    using Position = std::vector<ChartPoint>::const_iterator;
    std::string curve(Position begin, Position end) const {
        std::string middle, upper, lower, dots;
        for (auto point = begin; point != end; ++point) {
            const auto at = [&](double value) {
                return joined({coordinate(x(point->x)), ",", coordinate(y(value)), " "});
            };
            middle += at(point->y->mid);
            upper += at(point->y->high);
            lower = at(point->y->low) + lower;
            dots += circle("dot", x(point->x), y(point->y->mid), 2.5);
        }
        return shape("polygon", attribute("class", "band") + attribute("points", upper + lower)) +
               shape("polyline", attribute("class", "curve") + attribute("points", middle)) + dots;
    }

    std::string misses() const {
        std::string text;
        for (const ChartPoint& point : chart_.points) {
            if (is_drawable(point)) continue;
            const double at = x(point.x), middle = kBottom - 9;
            text += line("miss", at - 4, middle - 4, at + 4, middle + 4);
            text += line("miss", at - 4, middle + 4, at + 4, middle - 4);
        }
        return text;
    }

    std::string mark() const {
        if (!chart_.mark || !is_drawable(*chart_.mark)) return {};
        const double at = x(std::clamp(chart_.mark->x, first_, last_));
        const char* anchor = at < kLeft + 90 ? "start" : at > kRight - 90 ? "end" : "middle";
        return line("limit", at, kTop - 8, at, kBottom) + label("strong", anchor, at, kTop - 14, chart_.mark_label) +
               circle("chosen", at, y(chart_.mark->y->mid), 5);
    }

    const LineChart& chart_;
    double first_ = 0, last_ = 0, highest_ = 0;
};

}  // namespace

std::string line_chart(const LineChart& chart) {
    if (std::ranges::count_if(chart.points, is_drawable) < 2) return {};
    return element("figure", "", element("figcaption", "", escaped(chart.title)) + Drawing(chart).svg());
}

}  // namespace lfm::tools
