// A folder must be small enough to survey: at most 30 source files, those of its subfolders not counted.
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

constexpr int kMost = 30;

/// One file for each operation, or each weight type: as many as there are.
const std::set<std::string> kOneFileEach{"backends/gpu/kernels", "backends/gpu/kernels/weights",
                                         "backends/vulkan/shaders"};

TEST(FolderSize, NoFolderHoldsMoreThanCanBeSurveyed) {
    const fs::path root = LFM_SOURCE_DIR;
    const std::set<std::string> code{".h", ".cpp", ".cu", ".comp", ".glsl", ".py", ".sh"};
    std::map<std::string, int> n_files;
    for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
        const std::string name = entry->path().filename().string();
        if (entry->is_directory() && (name.starts_with(".") || (entry.depth() == 0 && name.starts_with("build"))))
            entry.disable_recursion_pending();
        if (entry->is_regular_file() && code.contains(entry->path().extension().string()))
            ++n_files[entry->path().parent_path().lexically_relative(root).string()];
    }
    EXPECT_GT(n_files.size(), 20u);
    for (const auto& [folder, n] : n_files)
        if (!kOneFileEach.contains(folder))
            EXPECT_LE(n, kMost) << folder << ": make a subfolder of files that belong together";
}

}  // namespace
