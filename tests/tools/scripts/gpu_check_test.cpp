// tools/gpu_check.sh on machines where things fail, hang or refuse: small scripts stand in for programs, drivers and
// tools.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kScript = LFM_SOURCE_DIR "/tools/gpu_check.sh";

/// In lfm-probe's place: lists devices and writes a profile.
constexpr const char* kProbe = R"sh(
if [[ $1 == --list ]]; then
    case $3 in
        emulated32) echo "emulated32 0: Emulation, 8.0 GiB, emulated" ;;
        vulkan) echo "vulkan 0: Card, 8.0 GiB, driver 1" ;;
        *) echo "$3: none (the driver 535.0 knows CUDA 12.2, this module needs 13.0)"; exit 1 ;;
    esac
    exit 0
fi
while (($#)); do [[ $1 == -o ]] && file=$2; shift; done
echo '{"host": {}}' >"$file"
)sh";
constexpr const char* kBench = R"sh(
echo "profile: $*" >&2
[[ $* == *1MiB* ]] && exit 3
cat <<ROWS
[
  {
    "model_type": "little",
    "n_gen": 3,
    "avg_ts": 12.5,
    "hit_rate": null,
    "decode_nodes": 330,
    "graph": false,
    "queue_limit": 400,
    "driver_queue": 1000,
    "device_remarks": [
      "steps run kernel by kernel: the driver refused a graph"
    ]
  }
]
ROWS
)sh";
constexpr const char* kTests = R"sh(
[[ $* == *list_tests* ]] && { echo "Suite."; echo "  Test"; exit 0; }
echo "[==========] Running 1 test"
echo "[       OK ] Suite.Test (0 ms)"
)sh";

/// Whether any process has `word` among its arguments.
bool is_running(const std::string& word) {
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc", gone)) {
        std::ifstream file(entry.path() / "cmdline", std::ios::binary);
        for (std::string each; std::getline(file, each, '\0');)
            if (each == word) return true;
    }
    return false;
}

class GpuCheck : public testing::Test {
protected:
    void SetUp() override {
        for (const char* folder : {"bundle/bin", "bundle/lib", "bundle/share", "tools"})
            fs::create_directories(dir_.file(folder));
        program("bundle/bin/lfm-probe", kProbe);
        program("bundle/bin/lfm-bench", kBench);
        program("bundle/bin/lfm-run", "echo a story\n");
        program("bundle/bin/cards_tests", kTests);
    }

    void program(const std::string& name, const std::string& text) {
        std::ofstream(dir_.file(name)) << "#!/usr/bin/env bash\n" << text;
        fs::permissions(dir_.file(name), fs::perms::owner_all);
    }

    /// Runs the script and returns its exit code. `environment`: NAME=VALUE pairs.
    int check(const std::vector<std::string>& environment, const std::vector<std::string>& options) {
        std::vector<std::string> command{"/usr/bin/env", "PATH=" + dir_.file("tools") + ":" + std::getenv("PATH")};
        command.insert(command.end(), environment.begin(), environment.end());
        command.push_back(kScript);
        command.insert(command.end(), options.begin(), options.end());
        command.insert(command.end(), {dir_.file("bundle"), dir_.file("out")});
        const Result result = run(command);
        output_ = result.out + result.err;
        report_ = read("report.md");
        figures_ = Json::parse(read("bench.json"), nullptr, false);
        EXPECT_FALSE(figures_.is_discarded()) << output_;
        results_.clear();
        for (const Json& stage : figures_["stages"]) results_[stage["name"]] = stage["result"];
        return result.code;
    }
    std::string read(const std::string& name) const {
        std::ifstream file(dir_.file("out/" + name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    bool says(const std::string& text) const { return report_.find(text) != std::string::npos; }

    ScratchDir dir_;
    std::string output_, report_;
    Json figures_;
    std::map<std::string, std::string> results_;  // of stages
};

TEST_F(GpuCheck, AStageThatFailsAndOneThatHangsKeepNoOtherFromStarting) {
    std::ofstream(dir_.file("meminfo")) << "MemAvailable:  500000 kB\n";
    const int code = check({"LFM_GPU_CHECK_FAIL=decode-hybrid", "LFM_GPU_CHECK_HANG=probe",
                            "LFM_GPU_CHECK_MEMINFO=" + dir_.file("meminfo")},
                           {"--backend", "emulated32"});
    EXPECT_EQ(code, 1) << output_;
    EXPECT_TRUE(results_["probe"].starts_with("out of time")) << output_;
    EXPECT_EQ(results_["decode-hybrid"], "failed (9)") << output_;
    for (const auto& [stage, result] : results_) {
        if (stage == "probe" || stage == "decode-hybrid") continue;
        EXPECT_EQ(result, "ok") << stage;
    }
    for (const char* stage : {"decode-resident", "prefill-resident", "prefill-hybrid", "cards-operations-1", "story"})
        EXPECT_EQ(results_.count(stage), 1u) << stage << output_;
    for (const char* text : {"| probe | **out of time**", "| decode-hybrid | **failed** (9)",
                             "the shipped rtx-4060-ti-16gb", "needs 1 GiB of RAM and 0 are free: tried all the same"})
        EXPECT_TRUE(says(text)) << text << report_;
    EXPECT_NE(read("bench.log").find("--profile rtx-4060-ti-16gb"), std::string::npos);
    EXPECT_EQ(figures_["decode_nodes"]["resident"], 330);
    EXPECT_TRUE(figures_["decode_nodes"]["hybrid"].is_null());
    EXPECT_EQ(figures_["graph"]["resident"], false);
    EXPECT_TRUE(says("| resident | 330 | no | 400 | 12.5 |")) << report_;
    EXPECT_TRUE(says("- steps run kernel by kernel: the driver refused a graph\n")) << report_;
    EXPECT_FALSE(is_running("98765")) << "what hung is still there";
}

TEST_F(GpuCheck, ToolsThatRefuseAreLeftAloneSoon) {
    program("tools/ncu", "trap '' TERM\nsleep 1000\n");
    program("tools/nsys", "exit 1\n");
    program("tools/compute-sanitizer", "echo '========= Error: Device not supported'\nexit 255\n");
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(check({}, {"--backend", "emulated32"}), 0) << output_;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2));
    for (const char* text : {"by ncu: it gave none within 10 s", "by nsys: it gave none within 10 s",
                             "compute-sanitizer gave no summary within 10 s: Error: Device not supported"})
        EXPECT_TRUE(says(text)) << text << report_;
    EXPECT_EQ(results_["ncu-tried"], "refused") << output_;
    EXPECT_EQ(results_.count("kernels-resident"), 0u);
    EXPECT_EQ(results_["decode-hybrid"], "ok");
    EXPECT_EQ(results_["story"], "ok");
}

TEST_F(GpuCheck, TheTimesOfKernelsAreSummedUp) {
    program("tools/ncu", R"sh(cat <<'ROWS'
==PROF== Connected to process 1
"ID","Process ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","1","void lfm::gpu::(anonymous namespace)::gate_up<float, 4>(lfm::gpu::Push)","Command line profiler metrics","dram__bytes_read.sum","Mbyte","2.00"
"0","1","void lfm::gpu::(anonymous namespace)::gate_up<float, 4>(lfm::gpu::Push)","Command line profiler metrics","gpu__time_duration.sum","usecond","10.50"
"0","1","void lfm::gpu::(anonymous namespace)::gate_up<float, 4>(lfm::gpu::Push)","Command line profiler metrics","launch__registers_per_thread","register/thread","58"
"1","1","norm(lfm::gpu::Push)","Command line profiler metrics","gpu__time_duration.sum","ns","1,500"
"2","1","norm(lfm::gpu::Push)","Command line profiler metrics","gpu__time_duration.sum","ns","500"
ROWS
)sh");
    program("tools/compute-sanitizer", "echo '========= ERROR SUMMARY: 0 errors'\n");
    EXPECT_EQ(check({}, {"--backend", "emulated32"}), 0) << output_;
    const Json& kernels = figures_["kernel_times"]["resident"];
    ASSERT_EQ(kernels.size(), 2u) << kernels;
    EXPECT_EQ(kernels[0]["kernel"], "gate_up<float, 4>");
    EXPECT_EQ(kernels[0]["us"], 10.5);
    EXPECT_EQ(kernels[0]["bytes_read"], 2000000);
    EXPECT_EQ(kernels[0]["registers"], 58);
    EXPECT_EQ(kernels[1]["launches"], 2);
    EXPECT_EQ(kernels[1]["us"], 2);
    for (const char* stage : {"memcheck", "racecheck", "synccheck"}) EXPECT_EQ(results_[stage], "ok") << output_;
    EXPECT_TRUE(says("| gate_up<float, 4> | 1 | 10.5 | 190 | 58 |")) << report_;
}

TEST_F(GpuCheck, ACardThatIsMissingIsNoReasonForSilence) {
    EXPECT_EQ(check({}, {"--quick", "--bench-only"}), 0) << output_;
    EXPECT_TRUE(says("measured is vulkan instead of cuda: cuda: none (the driver 535.0 knows CUDA 12.2")) << report_;
    EXPECT_EQ(figures_["backend"], "vulkan");
}

}  // namespace
}  // namespace lfm::test
