#include "runtime/machine/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "runtime/machine/cgroups.h"

namespace lfm {
namespace {

/// The quota of one group, in processors; nothing unless both numbers are positive.
std::optional<double> quota_of(double quota, double period) {
    if (!(quota > 0 && period > 0)) return std::nullopt;
    return quota / period;
}

/// Version 2: "200000 100000", or "max 100000".
std::optional<double> quota_2(const std::string& folder) {
    std::ifstream file(folder + "cpu.max");
    double quota = 0, period = 100'000;  // the kernel's default, where the file has no second number
    if (!(file >> quota)) return std::nullopt;
    if (double read = 0; file >> read) period = read;
    return quota_of(quota, period);
}

/// Version 1: a file for each; a quota of -1 is none.
std::optional<double> quota_1(const std::string& folder) {
    double quota = 0, period = 0;
    std::ifstream quota_file(folder + "cpu.cfs_quota_us"), period_file(folder + "cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
    return quota_of(quota, period);
}

}  // namespace

std::optional<double> cpu_quota(const std::string& root) {
    std::optional<double> least;
    for (const CgroupFolder& folder : cgroup_folders("cpu", root)) {
        const auto quota = folder.version == 2 ? quota_2(folder.path) : quota_1(folder.path);
        if (quota && (!least || *quota < *least)) least = quota;
    }
    return least;
}

std::uint32_t threads_within(std::optional<double> quota, std::uint32_t n_cores) {
    if (!quota || *quota >= n_cores) return n_cores;
    return static_cast<std::uint32_t>(std::max(1.0, std::ceil(*quota)));
}

}  // namespace lfm
