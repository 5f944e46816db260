// tools/gpu_check.sh with the emulation in the card's place: the same script as on a card.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "tests/device_kinds.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kDry = LFM_SOURCE_DIR "/tools/gpu_check/dry.sh";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct DryRun {
    int code = 0;
    std::string output, report;
    Json figures;
};

class GpuDry : public testing::Test {
protected:
    void SetUp() override {
        if (const std::string why = emulated_gpu_absence<32>(); !why.empty()) GTEST_SKIP() << why;
    }

    /// `environment`: NAME=VALUE pairs.
    DryRun run_dry(const std::vector<std::string>& environment, const std::vector<std::string>& options = {}) {
        std::vector<std::string> command{"/usr/bin/env"};
        command.insert(command.end(), environment.begin(), environment.end());
        command.insert(command.end(), {kDry, LFM_BINARY_DIR, out()});
        command.insert(command.end(), options.begin(), options.end());
        const Result result = run(command);
        DryRun dry{result.code, result.out + result.err, read_file(out("report.md")), {}};
        dry.figures = Json::parse(read_file(out("bench.json")), nullptr, false);
        EXPECT_FALSE(dry.figures.is_discarded()) << dry.output;
        return dry;
    }
    std::string out(const std::string& name = "") const { return dir_.file("out/" + name); }

    static std::string result_of(const DryRun& dry, const std::string& stage) {
        for (const Json& each : dry.figures["stages"])
            if (each["name"] == stage) return each["result"];
        return "none";
    }

    ScratchDir dir_;
};

TEST_F(GpuDry, BringsAReportAndFigures) {
    const DryRun dry = run_dry({}, {"--limit", "680"});  // at most: other tests run at the same time
    EXPECT_EQ(dry.code, 0) << dry.output;
    std::size_t n_files = 0, n_bytes = 0;
    for (const auto& file : fs::directory_iterator(out())) {
        EXPECT_TRUE(file.is_regular_file());
        ++n_files, n_bytes += file.file_size();
    }
    EXPECT_LE(n_files, 8u);
    EXPECT_LE(n_bytes, std::size_t{64} << 20);
    for (const char* name : {"report.md", "bench.json", "system.txt", "tests.log", "bench.log"})
        EXPECT_TRUE(fs::exists(out(name))) << name;

    const Json& figures = dry.figures;
    for (const char* kind : {"resident", "hybrid"}) {
        EXPECT_TRUE(figures["decode_nodes"][kind].is_number()) << figures["decode_nodes"];
        EXPECT_TRUE(figures["graph"][kind].is_boolean()) << figures["graph"];
        EXPECT_TRUE(figures["kernel_times"][kind].is_array());
    }
    EXPECT_TRUE(figures["queue_limit"].is_number()) << figures["queue_limit"];
    EXPECT_TRUE(figures["driver_queue"].is_number()) << figures["driver_queue"];
    ASSERT_TRUE(figures["benches"].is_array());
    std::vector<std::string> names;
    for (const Json& bench : figures["benches"]) {
        names.push_back(bench["name"]);
        ASSERT_EQ(bench["rows"].size(), 1u) << "prefill and decoding are runs of their own";
        EXPECT_GT(bench["rows"][0]["avg_ts"].get<double>(), 0);
        EXPECT_TRUE(bench["rows"][0]["device_remarks"].is_array());
    }
    for (const char* name : {"decode-resident", "decode-hybrid", "prefill-resident", "prefill-hybrid"})
        EXPECT_NE(std::ranges::find(names, name), names.end()) << name << dry.output;
    for (const Json& stage : figures["stages"]) EXPECT_EQ(stage["result"], "ok") << stage["name"] << dry.output;
    for (const char* text : {"| decode-resident |", "| hybrid |", "cards-operations", "emulation"})
        EXPECT_NE(dry.report.find(text), std::string::npos) << text << dry.report;
}

}  // namespace
}  // namespace lfm::test
