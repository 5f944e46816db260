// A folder that stands for "/", with the files of control groups that a test puts there.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/tools/scratch_dir.h"

namespace lfm::test {

class CgroupTree {
public:
    void put(const std::string& path, const std::string& content) {
        const std::filesystem::path file = root() + path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << content;
    }
    std::string root() const { return dir_.file("root"); }

private:
    ScratchDir dir_;
};

}  // namespace lfm::test
