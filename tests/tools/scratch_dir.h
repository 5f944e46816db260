// A temporary folder, removed with its object.
#pragma once

#include <filesystem>
#include <string>

#include <stdlib.h>

namespace lfm::test {

class ScratchDir {
public:
    ScratchDir() {
        std::string name = (std::filesystem::temp_directory_path() / "lfm-test-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ScratchDir(const ScratchDir&) = delete;
    ScratchDir& operator=(const ScratchDir&) = delete;
    ~ScratchDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

}  // namespace lfm::test
