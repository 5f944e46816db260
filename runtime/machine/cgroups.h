// The control groups around this process: where the kernel keeps the files that limit it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm {

/// One group's folder, with a slash behind it, and the version of cgroups whose files are in it.
struct CgroupFolder {
    std::string path;
    int version;  // 1 or 2
};

/// The folders of every group around this process that `controller` ("cpu", "memory") can limit, of both versions,
/// inner ones first. Not all exist: in a container the process sees the host's group names, while its own group is
/// mounted as the root folder. `root` stands for "/" (tests have their own).
std::vector<CgroupFolder> cgroup_folders(std::string_view controller, const std::string& root = "");

}  // namespace lfm
