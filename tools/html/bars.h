// A bar of parts one after the other, as wide as the page: x and widths are percentages, y and heights are pixels.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/html/axis.h"

namespace lfm::tools {

struct BarPart {
    std::string name;    // written above the part where there is room
    std::string amount;  // beside the name, where there is more
    double size = 0;     // in the axis' unit
    std::string fill;    // a class of the style sheet
};

struct StackedBar {
    std::string description;  // for screen readers
    std::vector<BarPart> parts;
    double end = 0;  // of the axis
    std::vector<Tick> ticks;
    std::optional<Tick> limit;  // a line across
};

std::string stacked_bar(const StackedBar& bar);

/// A small square in a part's fill.
std::string swatch(std::string_view fill);

}  // namespace lfm::tools
