// Checks the layers of the design: which folder may include which, which room (subfolder) which other room of its
// folder, and where outside libraries may appear.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude{
    {"memory", {"memory"}},
    {"planner", {"planner", "memory"}},  // and backends/needs
    {"backends", {"backends", "memory"}},
    {"runtime", {"runtime", "planner", "backends", "memory"}},
    {"tools", {"tools", "runtime", "planner", "memory"}},
    {"tests", {"tests", "tools", "runtime", "planner", "backends", "memory"}},
};

/// Rooms, and what each may include of its own top folder beside itself and its subfolders. A file belongs to the
/// deepest room that holds it. Other top folders: kMayInclude, whatever the room.
const std::map<std::string, std::set<std::string>> kRooms{
    {"planner/json", {}},
    {"planner/machine", {"planner/json"}},
    {"planner/model", {"planner/json"}},
    {"planner/cost", {"planner/machine", "planner/model"}},
    {"planner/plan", {"planner/json", "planner/machine", "planner/model", "planner/cost"}},

    {"backends", {}},  // the interfaces
    {"backends/needs", {}},
    {"backends/device", {"backends", "backends/needs"}},
    {"backends/cpu", {"backends"}},
    {"backends/cpu/operations", {"backends", "backends/needs", "backends/cpu/kernels"}},
    {"backends/cpu/kernels", {"backends/needs"}},
    {"backends/gpu", {"backends", "backends/needs", "backends/device"}},
    {"backends/gpu/loader", {"backends", "backends/gpu"}},
    {"backends/gpu/operations",
     {"backends", "backends/needs", "backends/device", "backends/gpu", "backends/gpu/kernels"}},
    {"backends/gpu/kernels", {"backends/needs", "backends/gpu/platform"}},
    {"backends/gpu/platform", {"backends/needs", "backends/gpu/emulation"}},
    {"backends/gpu/emulation", {"backends/needs", "backends/gpu/platform"}},
    {"backends/vulkan", {"backends", "backends/needs", "backends/device"}},
    {"backends/sim", {"backends", "backends/needs", "backends/cpu", "backends/cpu/kernels"}},

    {"runtime/machine", {}},
    {"runtime/text", {}},
    {"runtime/chat", {"runtime/text"}},
    {"runtime/tensors", {"runtime/machine", "runtime/text"}},
    {"runtime/state", {"runtime/tensors"}},
    {"runtime/experts", {"runtime/tensors"}},
    {"runtime/step", {"runtime/machine", "runtime/tensors", "runtime/state", "runtime/experts"}},
    {"runtime/session",
     {"runtime/machine", "runtime/text", "runtime/chat", "runtime/tensors", "runtime/state", "runtime/experts",
      "runtime/step"}},
    {"runtime/service",
     {"runtime/machine", "runtime/text", "runtime/chat", "runtime/tensors", "runtime/state", "runtime/experts",
      "runtime/step", "runtime/session"}},
    {"runtime/probe", {"runtime/machine", "runtime/tensors", "runtime/step"}},

    {"tools/common", {}},
    {"tools/html", {}},
    {"tools/plan", {"tools/common", "tools/html"}},
    {"tools/bench", {"tools/common"}},
    {"tools/eval", {"tools/common"}},
    {"tools/probe", {"tools/common"}},
    {"tools/run", {"tools/common", "tools/plan"}},
};

/// Headers that begin with one of `headers` appear only in files whose path begins with one of `folders`.
struct LibraryRule {
    std::vector<std::string> headers;
    std::vector<std::string> folders;
};
const std::vector<LibraryRule> kLibraryRules{
    {{"tbb/", "oneapi/"}, {"runtime/", "backends/cpu/", "tests/"}},
    {{"vulkan/", "volk"}, {"backends/vulkan/", "tests/"}},
    {{"cuda", "cublas", "cub/", "nvrtc", "nvml", "hip/", "rocm", "rocblas"}, {"backends/gpu/", "tests/"}},
    // Planning is arithmetic: no thread, no clock.
    {{"thread", "mutex", "shared_mutex", "atomic", "future", "chrono", "ctime"},
     {"memory/", "backends/", "runtime/", "tools/", "tests/"}},
};

bool begins_with_one_of(const std::string& text, const std::vector<std::string>& beginnings) {
    return std::ranges::any_of(beginnings, [&](const std::string& beginning) { return text.starts_with(beginning); });
}

struct SourceFile {
    std::string path;  // from the root: "memory/gguf.cpp"
    std::string text;
};

struct Include {
    std::string header;
    bool quoted;
};

/// Nothing when the line includes no file.
std::optional<Include> include_of(std::string line) {
    std::erase_if(line, [](char c) { return c == ' ' || c == '\t'; });
    if (!line.starts_with("#include\"") && !line.starts_with("#include<")) return std::nullopt;
    const auto begin = line.find_first_of("\"<") + 1;
    return Include{line.substr(begin, line.find_first_of("\">", begin) - begin), line[begin - 1] == '"'};
}

std::string top_folder(const std::string& path) { return path.substr(0, path.find('/')); }

/// "" where the path lies in none.
std::string room_of(const std::string& path) {
    for (auto end = path.rfind('/'); end != path.npos; end = end == 0 ? path.npos : path.rfind('/', end - 1))
        if (const std::string folder = path.substr(0, end); kRooms.contains(folder)) return folder;
    return "";
}

/// backends/needs has the sizes that allocators and the planner both need.
bool is_exception(const std::string& path, const std::string& header) {
    return top_folder(path) == "planner" && room_of(header) == "backends/needs";
}

/// For a file and a header in the same top folder.
bool room_may_include(const std::string& path, const std::string& header) {
    const std::string from = room_of(path), to = room_of(header);
    if (from.empty()) return to.empty();
    // A room may include the rooms below it; `backends` itself (the interfaces) may not.
    const bool own = from == to || (from.find('/') != from.npos && to.starts_with(from + "/"));
    return own || kRooms.at(from).contains(to);
}

/// What is wrong with the file's includes, one line each. `exists` tells whether a path from the root exists.
std::vector<std::string> violations(const SourceFile& file, const std::function<bool(const std::string&)>& exists) {
    std::vector<std::string> found;
    const auto allowed = kMayInclude.find(top_folder(file.path));
    if (allowed == kMayInclude.end()) return {file.path + ": a folder that has no place in the layers"};
    std::istringstream lines(file.text);
    for (std::string line; std::getline(lines, line);) {
        const auto include = include_of(line);
        if (!include) continue;
        const std::string& header = include->header;
        const std::string what = file.path + " includes " + header;
        for (const LibraryRule& rule : kLibraryRules)
            if (begins_with_one_of(header, rule.headers) && !begins_with_one_of(file.path, rule.folders))
                found.push_back(what + ": a library that does not belong there");
        if (!include->quoted && !kMayInclude.contains(top_folder(header))) continue;
        if (!exists(header))
            found.push_back(what + ": no such file (paths start at the root)");
        else if (!allowed->second.contains(top_folder(header)) && !is_exception(file.path, header))
            found.push_back(what + ": against the direction of the layers");
        else if (top_folder(header) == top_folder(file.path) && !room_may_include(file.path, header))
            found.push_back(what + ": against the direction of the rooms");
    }
    return found;
}

std::vector<std::string> in_example(const std::string& path, const std::string& text) {
    return violations({path, text}, [](const std::string& header) { return header.find("missing") == header.npos; });
}

TEST(IncludeDirection, TheTreeKeepsIt) {
    const fs::path root = LFM_SOURCE_DIR;
    const std::set<std::string> sources{".h", ".cpp", ".cu", ".cuh", ".hip"};
    std::size_t n_files = 0;
    for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
        const fs::path path = entry->path();
        const std::string name = path.filename().string();
        if (entry->is_directory() && (name.starts_with(".") || (entry.depth() == 0 && name.starts_with("build"))))
            entry.disable_recursion_pending();
        if (!entry->is_regular_file() || !sources.contains(path.extension().string())) continue;
        ++n_files;
        std::stringstream text;
        text << std::ifstream(path).rdbuf();
        const auto exists = [&](const std::string& header) {
            return fs::exists(root / header) || fs::exists(root / (header + ".in"));  // written by configure_file
        };
        for (const std::string& violation : violations({path.lexically_relative(root).string(), text.str()}, exists))
            ADD_FAILURE() << violation;
    }
    EXPECT_GT(n_files, 20u);
}

TEST(IncludeDirection, LetsTheArrowsPass) {
    EXPECT_EQ(
        in_example("tools/a.cpp", "#include \"runtime/a.h\"\n#include \"planner/a.h\"\n#include <vector>\n").size(),
        0u);
    EXPECT_EQ(in_example("runtime/a.cpp", "#include \"backends/backend.h\"\n#include <tbb/flow_graph.h>\n").size(), 0u);
    EXPECT_EQ(in_example("backends/cpu/a.cpp", "#include <oneapi/tbb/parallel_for.h>\n").size(), 0u);
    EXPECT_EQ(in_example("backends/gpu/a.cu", "#include <cuda_runtime.h>\n#include <hip/hip_runtime.h>\n").size(), 0u);
    EXPECT_EQ(in_example("tests/a.cpp", "#include \"tools/a.h\"\n").size(), 0u);
    EXPECT_EQ(in_example("planner/cost/a.cpp", "#include \"backends/needs/a.h\"\n").size(), 0u);
    EXPECT_EQ(in_example("runtime/step/a.cpp", "#include \"runtime/experts/a.h\"\n").size(), 0u);
    EXPECT_EQ(in_example("backends/gpu/a.cpp", "#include \"backends/gpu/kernels/a.h\"\n").size(), 0u);
    EXPECT_EQ(in_example("backends/gpu/kernels/weights/a.cu", "#include \"backends/gpu/kernels/a.h\"\n").size(), 0u);
}

TEST(IncludeDirection, StopsWhatGoesAgainstThem) {
    const std::vector<SourceFile> wrong{
        {"memory/a.h", "#include \"planner/plan/plan.h\"\n"},
        {"planner/a.h", "#include \"backends/backend.h\"\n"},
        {"backends/needs/a.h", "#include \"backends/backend.h\"\n"},
        {"planner/a.h", "#include \"runtime/a.h\"\n"},
        {"planner/a.cpp", "#include <chrono>\n"},
        {"backends/cpu/a.h", "#include \"planner/plan/plan.h\"\n"},
        {"backends/cpu/a.h", "  #  include \"runtime/a.h\"\n"},
        {"backends/cpu/a.h", "#include <runtime/a.h>\n"},
        {"runtime/a.h", "#include \"tools/a.h\"\n"},
        {"tools/a.h", "#include \"backends/backend.h\"\n"},
        {"memory/a.h", "#include \"tests/a.h\"\n"},
        {"memory/a.h", "int a;\n#include \"memory/missing.h\"\n"},
        {"memory/a.h", "#include <tbb/parallel_for.h>\n"},
        {"backends/sim/a.h", "#include <oneapi/tbb/task_arena.h>\n"},
        {"backends/gpu/a.h", "#include <vulkan/vulkan.h>\n"},
        {"backends/cpu/a.h", "#include <cuda.h>\n"},
        {"runtime/a.h", "#include <hip/hip_runtime.h>\n"},
        {"elsewhere/a.h", ""},
        {"runtime/tensors/a.h", "#include \"runtime/step/a.h\"\n"},
        {"runtime/text/a.cpp", "#include \"runtime/chat/a.h\"\n"},
        {"runtime/text/a.cpp", "#include \"runtime/a.h\"\n"},
        {"runtime/a.cpp", "#include \"runtime/text/a.h\"\n"},
        {"planner/model/a.h", "#include \"planner/cost/a.h\"\n"},
        {"backends/device.h", "#include \"backends/device/a.h\"\n"},
        {"backends/cpu/kernels/avx2/a.cpp", "#include \"backends/cpu/operations/a.h\"\n"},
        {"backends/vulkan/a.cpp", "#include \"backends/gpu/a.h\"\n"},
        {"tools/run/a.cpp", "#include \"tools/bench/a.h\"\n"},
    };
    for (const SourceFile& file : wrong)
        EXPECT_EQ(in_example(file.path, file.text).size(), 1u) << file.path << '\n' << file.text;
}

}  // namespace
