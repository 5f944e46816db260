// A line with its band of uncertainty.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/plan/plan.h"

namespace lfm::tools {

enum class ChartAxis { kBytes, kDoublings };  // linear from 0; logarithmic

struct ChartPoint {
    double x = 0;
    std::optional<Prediction> y;  // nothing: a cross on the axis
};

struct LineChart {
    std::string title;  // with the unit
    std::string x_name;
    ChartAxis axis = ChartAxis::kBytes;
    std::vector<ChartPoint> points;  // by rising x
    std::optional<ChartPoint> mark;  // what the plan is made for
    std::string mark_label;
};

/// Nothing when fewer than two points have a value.
std::string line_chart(const LineChart& chart);

}  // namespace lfm::tools
