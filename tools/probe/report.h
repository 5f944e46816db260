// What lfm-probe says about a profile.
#pragma once

#include <string>

#include "planner/machine/machine.h"

namespace lfm::tools {

/// The measured figures, a line each: for people.
std::string probe_table(const MachineProfile& machine);

/// One line when measured figures of the same machine differ by more than a tenth: how many, and which most; else
/// empty.
std::string comparison(const MachineProfile& earlier, const MachineProfile& now);

}  // namespace lfm::tools
