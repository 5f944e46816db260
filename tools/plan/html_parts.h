// The parts of the report, in the order of the page. Each is HTML, or empty when the plan has nothing for it.
#pragma once

#include <string>

#include "tools/plan/report.h"

namespace lfm::tools {

std::string html_verdict(const PlanReport& report);  // what it is, does it fit, how fast, what was assumed
std::string html_memory(const Plan& plan);
std::string html_placement(const Plan& plan);  // a map of layers and experts
std::string html_sweeps(const PlanReport& report);
std::string html_step_time(const Plan& plan);
std::string html_alternatives(const Plan& plan);
std::string html_reasons(const Plan& plan);
std::string html_commands(const PlanReport& report);

std::string html_style();

/// Whether every layer and expert has its place.
bool has_placement(const Plan& plan);

/// "VRAM" or "RAM".
const char* memory_name(DeviceId device);

}  // namespace lfm::tools
