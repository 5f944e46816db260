// Machine profiles by name or path. Names are looked up in $LFM_PROFILES, then in the folder installed beside the
// programs (<prefix>/share/lfm/profiles); each has the subfolders gpu, host and machine.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "planner/machine/machine_json.h"

namespace lfm::tools {

/// The host that is taken when no profile names one.
inline constexpr const char* kDefaultHost = "ddr5-5600";

/// A path (with '/' or ending in .json), a name, or several of them with '+' between: devices add up in order, of
/// several hosts the last counts. Throws Error{kUsage} with the names there are, the nearest first; Error{kIo} for a
/// file that cannot be read; Error{kInvalidInput} for one that is no profile.
MachinePart load_machine_part(const std::string& name_or_path);

/// All of `names` as one machine, with kDefaultHost when none has a host. Throws like load_machine_part, and
/// Error{kUsage} for no names.
MachineProfile load_machine(std::span<const std::string> names);

/// All files that load_machine may read for `names`, without the default host's; some may not exist.
std::vector<std::string> profile_files(std::span<const std::string> names);

/// Sorted.
std::vector<std::string> profile_names();

}  // namespace lfm::tools
