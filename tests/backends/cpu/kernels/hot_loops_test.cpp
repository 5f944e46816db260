// The number of instructions of each hot loop, as recorded in hot_loops.json: a change that makes one longer is seen
// here, on a machine too noisy to time it. After a change for the better, or a deliberate one: the failure says what to
// write there.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backends/cpu/kernels/kernels.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kProgram = LFM_BINARY_DIR "/bin/hot_loops";
constexpr const char* kRecord = LFM_SOURCE_DIR "/tests/backends/cpu/kernels/hot_loops.json";
constexpr double kTolerance = 0.02;

/// Why nothing can be counted here; empty when it can.
std::string obstacle(const nlohmann::json& record) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
    return "only an optimised build without sanitizers is counted";
#endif
    if (record["compiler"] != __VERSION__)
        return "recorded with gcc " + record["compiler"].get<std::string>() + ", this is " __VERSION__;
    if (cpu::avx2_kernels() == nullptr) return "no AVX2 here";
    if (!std::filesystem::exists("/usr/bin/valgrind")) return "valgrind is not installed";
    return "";
}

/// The numbers after "summary:" of callgrind's dumps, in order.
std::vector<long> counts_in(const std::string& folder) {
    std::map<int, long> counts;  // by the dump's number
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
        const std::string extension = file.path().extension();
        if (extension.size() < 2 || std::isdigit(static_cast<unsigned char>(extension[1])) == 0) continue;
        std::ifstream in(file.path());
        for (std::string line; std::getline(in, line);)
            if (line.starts_with("summary: ")) counts[std::stoi(extension.substr(1))] = std::stol(line.substr(9));
    }
    std::vector<long> in_order;
    for (const auto& [number, count] : counts)
        if (count > 0) in_order.push_back(count);
    return in_order;
}

TEST(HotLoops, TakeNoMoreInstructionsThanRecorded) {
    std::ifstream file(kRecord);
    const auto record = nlohmann::json::parse(file);
    if (const std::string reason = obstacle(record); !reason.empty()) GTEST_SKIP() << reason;
    const ScratchDir dir;
    const Result listed = run({kProgram, "--names"});
    ASSERT_EQ(listed.code, 0) << listed.err;
    const Result counted = run({"/usr/bin/valgrind", "--tool=callgrind", "--toggle-collect=hot_loop",
                                "--dump-after=hot_loop", "--callgrind-out-file=" + dir.file("counts"), kProgram});
    ASSERT_EQ(counted.code, 0) << counted.err;
    const std::vector<long> counts = counts_in(dir.file(""));
    nlohmann::json now;
    std::istringstream names(listed.out);
    for (std::string name; std::getline(names, name);) {
        ASSERT_LT(now.size(), counts.size()) << name;
        now[name] = counts[now.size()];
    }
    ASSERT_EQ(now.size(), counts.size());
    bool as_recorded = now.size() == record["instructions"].size();
    for (const auto& [name, count] : now.items()) {
        const double before = record["instructions"].value(name, 0.0), after = count;
        EXPECT_LE(after, before * (1 + kTolerance)) << name;
        as_recorded = as_recorded && after <= before * (1 + kTolerance) && after >= before * (1 - kTolerance);
    }
    EXPECT_TRUE(as_recorded) << "to record them in " << kRecord << ":\n"
                             << nlohmann::json{{"compiler", __VERSION__}, {"instructions", now}}.dump(4);
}

}  // namespace
}  // namespace lfm::test
