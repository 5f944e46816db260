// How much memory this process may use: the machine's, or less where a cgroup says so.
#pragma once

#include <optional>
#include <string>

#include "memory/units.h"

namespace lfm {

/// Installed memory as the kernel counts it, or the limit of the cgroup if that is lower. 0 when neither is known.
Bytes installed_memory();

/// Memory that can be taken now without swapping, within the limits of the cgroups around this process. Cached pages of
/// files count as available: the kernel drops them when memory is asked for.
Bytes available_memory();

/// Limit and use of the cgroup with the lowest limit around this process. `root` stands for "/" (tests have their own).
struct CgroupMemory {
    std::optional<Bytes> limit;
    Bytes used;
    std::optional<Bytes> left;  // the least that any of the groups lets this process take now
};
CgroupMemory cgroup_memory(const std::string& root = "");

}  // namespace lfm
