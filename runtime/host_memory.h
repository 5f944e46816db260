// How much memory this process may use: the machine's, or less where a cgroup says so.
#pragma once

#include <optional>
#include <string>

#include "memory/units.h"

namespace lfm {

/// Installed, as the kernel counts it; a lower limit of the cgroup replaces it. 0 when neither is known.
Bytes installed_memory();

/// That can be taken now without swapping, within the cgroup's limit.
Bytes available_memory();

/// Limit and use of a cgroup, the tightest of those around it. `root` stands for "/" (tests have their own).
struct CgroupMemory {
    std::optional<Bytes> limit;
    Bytes used;
};
CgroupMemory cgroup_memory(const std::string& root = "");

}  // namespace lfm
