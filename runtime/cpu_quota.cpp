#include "runtime/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string_view>

namespace lfm {
namespace {

/// Of one group; a period of 0 and what is no number say nothing.
std::optional<double> quota_of(double quota, double period) {
    if (!(quota > 0 && period > 0)) return std::nullopt;
    return quota / period;
}

/// Version 2: "200000 100000", or "max 100000".
std::optional<double> quota_2(const std::string& folder) {
    std::ifstream file(folder + "cpu.max");
    double quota = 0, period = 100'000;  // the kernel's own, where the file has no second number
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

/// Every group from `group` ("/a/b") up to the root may have one.
template <typename QuotaOf>
void tighten(std::optional<double>& least, const std::string& mount, std::string group, const QuotaOf& quota_in) {
    for (;;) {
        const auto quota = quota_in(mount + group + "/");
        if (quota && (!least || *quota < *least)) least = quota;
        if (group.empty()) return;
        const std::size_t slash = group.rfind('/');
        group.resize(slash == std::string::npos ? 0 : slash);
    }
}

bool names_cpu(std::string_view controllers) {
    while (!controllers.empty()) {
        const std::size_t end = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, end) == "cpu") return true;
        controllers.remove_prefix(std::min(end + 1, controllers.size()));
    }
    return false;
}

}  // namespace

std::optional<double> cpu_quota(const std::string& root) {
    const std::string mounts = root + "/sys/fs/cgroup";
    std::optional<double> least;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // "3:cpu,cpuacct:/a/b"; version 2: "0::/a/b"
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string group = line.substr(second + 1);
        if (group == "/") group.clear();
        if (controllers.empty()) {
            tighten(least, mounts, group, quota_2);
            tighten(least, mounts + "/unified", group, quota_2);  // beside version 1
        } else if (names_cpu(controllers)) {
            tighten(least, mounts + "/cpu", group, quota_1);
            if (controllers != "cpu") tighten(least, mounts + "/" + controllers, group, quota_1);
        }
    }
    return least;
}

std::uint32_t threads_within(std::optional<double> quota, std::uint32_t n_cores) {
    if (!quota || *quota >= n_cores) return n_cores;
    return static_cast<std::uint32_t>(std::max(1.0, std::ceil(*quota)));
}

}  // namespace lfm
