// How much processor time the control groups around this process leave it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lfm {

/// Processor time as a number of processors, such as 1.5: the least that any of the groups around this process allows,
/// in version 1 or 2 of cgroups. Nothing: no group has a quota. `root` stands for "/" (tests have their own).
std::optional<double> cpu_quota(const std::string& root = "");

/// How many threads, one per core, a quota keeps busy: rounded up, at least one, at most `n_cores`.
std::uint32_t threads_within(std::optional<double> quota, std::uint32_t n_cores);

}  // namespace lfm
