// A plan as one HTML file: no script, nothing fetched, every number also as text.
#pragma once

#include <string>

#include "tools/plan/report.h"

namespace lfm::tools {

/// A whole HTML5 document. The same report gives the same bytes. Names and reasons may hold any bytes.
std::string plan_html(const PlanReport& report);

}  // namespace lfm::tools
