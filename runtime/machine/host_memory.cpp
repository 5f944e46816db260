#include "runtime/machine/host_memory.h"

#include <algorithm>
#include <fstream>

#include "runtime/machine/cgroups.h"

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
    const char *limit, *used, *active_file, *inactive_file;
};
constexpr CgroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file",
                                "total_inactive_file"};
constexpr CgroupFiles kVersion2{"memory.max", "memory.current", "active_file", "inactive_file"};

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

}  // namespace

CgroupMemory cgroup_memory(const std::string& root) {
    CgroupMemory memory;
    for (const CgroupFolder& folder : cgroup_folders("memory", root)) {
        const CgroupFiles& files = folder.version == 2 ? kVersion2 : kVersion1;
        const auto limit = number_in(folder.path + files.limit);
        if (!limit) continue;
        const Bytes used{number_in(folder.path + files.used).value_or(0)};
        // A group with a higher limit may have less left, because other processes use it.
        const Bytes left = difference({*limit}, difference(used, droppable(folder.path, files)));
        if (!memory.left || left < *memory.left) memory.left = left;
        if (!memory.limit || *limit < memory.limit->value) {
            memory.limit = Bytes{*limit};
            memory.used = used;
        }
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
