// How much memory this process may use: the machine's, or less where a cgroup says so.
#pragma once

#include <optional>
#include <string>

#include "memory/units.h"

namespace lfm {

/// Installed, as the kernel counts it; a lower limit of the cgroup replaces it. 0 when neither is known.
Bytes installed_memory();

/// That can be taken now without swapping, within the limits of the cgroups around this process. Pages of files count:
/// they are dropped when memory is asked for.
Bytes available_memory();

/// Limit and use of a cgroup, the tightest of those around it. `root` stands for "/" (tests have their own).
struct CgroupMemory {
    std::optional<Bytes> limit;
    Bytes used;
    std::optional<Bytes> left;  // the least that any of the groups lets this process take now
};
CgroupMemory cgroup_memory(const std::string& root = "");

}  // namespace lfm
