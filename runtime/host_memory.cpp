#include "runtime/host_memory.h"

#include <algorithm>
#include <fstream>

namespace lfm {
namespace {

/// The number a file holds; nothing for "max" and what is no number.
std::optional<std::uint64_t> number_in(const std::string& path) {
    std::ifstream file(path);
    std::uint64_t number = 0;
    if (!(file >> number)) return std::nullopt;
    return number;
}

/// A line of /proc/meminfo, as in "MemTotal:       24559784 kB".
Bytes meminfo(const std::string& key) {
    std::ifstream file("/proc/meminfo");
    std::string word;
    std::uint64_t kibibytes = 0;
    while (file >> word)
        if (word == key + ":" && file >> kibibytes) return {kibibytes << 10};
    return {};
}

/// What a kind of cgroup calls its files, and the counts of memory.stat that include the groups below.
struct CgroupFiles {
    std::string mount, limit, used, active_file, inactive_file;
};

/// Pages of files in a group's use: the kernel drops them before it refuses memory, as it does for MemAvailable.
Bytes droppable(const std::string& folder, const CgroupFiles& files) {
    std::ifstream file(folder + "memory.stat");
    Bytes sum;
    std::string word;
    std::uint64_t bytes = 0;
    while (file >> word >> bytes)
        if (word == files.active_file || word == files.inactive_file) sum += Bytes{bytes};
    return sum;
}

Bytes difference(Bytes from, Bytes what) { return {from.value - std::min(from.value, what.value)}; }

/// Every group from `group` ("/a/b") up to the root may set a limit, and a wide one may be nearly used up.
void tighten(CgroupMemory& memory, const CgroupFiles& files, std::string group) {
    for (;;) {
        const std::string folder = files.mount + group + "/";
        if (const auto limit = number_in(folder + files.limit)) {
            const Bytes used{number_in(folder + files.used).value_or(0)};
            const Bytes left = difference({*limit}, difference(used, droppable(folder, files)));
            if (!memory.left || left < *memory.left) memory.left = left;
            if (!memory.limit || *limit < memory.limit->value) {
                memory.limit = Bytes{*limit};
                memory.used = used;
            }
        }
        if (group.empty()) return;
        const std::size_t slash = group.rfind('/');
        group.resize(slash == std::string::npos ? 0 : slash);
    }
}

bool names_memory(std::string controllers) {
    controllers = "," + controllers + ",";
    return controllers.find(",memory,") != std::string::npos;
}

}  // namespace

CgroupMemory cgroup_memory(const std::string& root) {
    const CgroupFiles version_2{root + "/sys/fs/cgroup", "memory.max", "memory.current", "active_file",
                                "inactive_file"};
    const CgroupFiles version_1{root + "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                "total_active_file", "total_inactive_file"};
    CgroupMemory memory;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // "4:memory:/a/b"; version 2: "0::/a/b"
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string group = line.substr(second + 1);
        if (group == "/") group.clear();
        if (controllers.empty()) tighten(memory, version_2, group);
        if (names_memory(controllers)) tighten(memory, version_1, group);
    }
    return memory;
}

Bytes installed_memory() {
    const Bytes installed = meminfo("MemTotal");
    const CgroupMemory cgroup = cgroup_memory();
    if (!cgroup.limit) return installed;
    return installed.value == 0 ? *cgroup.limit : std::min(installed, *cgroup.limit);
}

Bytes available_memory() {
    const Bytes available = meminfo("MemAvailable");
    const CgroupMemory cgroup = cgroup_memory();
    return cgroup.left ? std::min(available, *cgroup.left) : available;
}

}  // namespace lfm
