// A plan on one screen of a terminal, 80 columns wide.
#pragma once

#include <string>

#include "tools/plan/report.h"

namespace lfm::tools {

enum class Glyphs { kBlocks, kAscii };

std::string plan_text(const PlanReport& report, Glyphs glyphs);

/// One line per budget: experts on the device, predicted tok/s, what whole layers would give.
struct SweepRow {
    Bytes budget;
    std::optional<Plan> plan;  // nothing: does not fit
};
std::string sweep_text(const std::vector<SweepRow>& rows, std::uint32_t depth);

}  // namespace lfm::tools
