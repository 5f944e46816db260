#include "runtime/machine/cgroups.h"

#include <algorithm>
#include <fstream>

namespace lfm {
namespace {

/// "/a/b", "/a" and the root, each may have its own limit.
void add_groups(std::vector<CgroupFolder>& folders, const std::string& mount, std::string group, int version) {
    for (;;) {
        folders.push_back({mount + group + "/", version});
        if (group.empty()) return;
        const std::size_t slash = group.rfind('/');
        group.resize(slash == std::string::npos ? 0 : slash);
    }
}

/// Whether "cpu,cpuacct" has the controller.
bool names(std::string_view controllers, std::string_view controller) {
    while (!controllers.empty()) {
        const std::size_t end = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, end) == controller) return true;
        controllers.remove_prefix(std::min(end + 1, controllers.size()));
    }
    return false;
}

}  // namespace

std::vector<CgroupFolder> cgroup_folders(std::string_view controller, const std::string& root) {
    const std::string mounts = root + "/sys/fs/cgroup";
    std::vector<CgroupFolder> folders;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // "3:cpu,cpuacct:/a/b"; version 2: "0::/a/b"
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string group = line.substr(second + 1);
        if (group == "/") group.clear();
        if (controllers.empty()) {
            add_groups(folders, mounts, group, 2);
            add_groups(folders, mounts + "/unified", group, 2);  // beside version 1
        } else if (names(controllers, controller)) {
            add_groups(folders, mounts + "/" + std::string(controller), group, 1);
            if (controllers != controller) add_groups(folders, mounts + "/" + controllers, group, 1);
        }
    }
    return folders;
}

}  // namespace lfm
