// What is available bounds what is taken, whether a budget is given or not: exit code 3 with the figures, at once.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>

#include <nlohmann/json.hpp>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

std::string program(const std::string& name) { return LFM_BINARY_DIR "/bin/" + name; }
const std::string kModel = LFM_BINARY_DIR "/share/lfm/demo.gguf";

/// One line with "needs", the largest part and what there is; nothing on stdout.
void expect_shortfall(const std::vector<std::string>& command, const std::string& largest,
                      const std::string& input = "") {
    const auto begin = std::chrono::steady_clock::now();
    const Result result = run(command, input);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(result.code, 3) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("needs"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(largest), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("GiB"), std::string::npos) << result.err;
    EXPECT_LT(seconds.count(), 20) << "before anything is allocated";
}

class AvailableMemory : public testing::Test {
protected:
    void SetUp() override { ::setenv("XDG_CACHE_HOME", dir_.file("cache").c_str(), 1); }

    std::string file(const std::string& name, const std::string& content) const {
        std::ofstream(dir_.file(name)) << content;
        return dir_.file(name);
    }
    /// A plan of everything in RAM for the demo model, edited.
    std::string edited_plan(const std::function<void(nlohmann::json&)>& edit) const {
        const Result made = run({program("lfm-plan"), "-m", kModel, "--profile", "ddr5-5600", "-o", "json"});
        EXPECT_EQ(made.code, 0) << made.err;
        auto json = nlohmann::json::parse(made.out);
        edit(json);
        return file("plan.json", json.dump());
    }

    ScratchDir dir_;
};

TEST_F(AvailableMemory, BoundsTheContextOfEveryTool) {
    const std::string text = file("text.txt", "Once upon a time, there was a fox.");
    expect_shortfall({program("lfm-run"), "-p", "Hi", "-c", "1000000000"}, "KV cache");
    expect_shortfall({program("lfm-run"), "-c", "1000000000", "-ctk", "q8_0"}, "KV cache", "Hi");
    expect_shortfall({program("lfm-run"), "-p", "Hi", "-c", "1000000000", "--ram-budget", "100GiB"}, "KV cache");
    expect_shortfall({program("lfm-eval"), "perplexity", "-m", kModel, "-f", text, "-c", "1000000000"}, "KV cache");
    expect_shortfall(
        {program("lfm-eval"), "routing", "-m", kModel, "-f", text, "-o", dir_.file("o"), "-c", "1000000000"},
        "KV cache");
    expect_shortfall({program("lfm-bench"), "--shape", "lfm2-350m:Q4_0", "-p", "16", "-n", "0", "-d", "16000000"},
                     "KV cache");
    expect_shortfall({program("lfm-plan"), "-m", kModel, "--profile", "ddr5-5600", "-c", "1000000000"}, "KV cache");
}

TEST_F(AvailableMemory, BoundsRandomWeights) {
    expect_shortfall({program("lfm-bench"), "--shape", "lfm2-24b-a2b:F32", "-p", "1", "-n", "0", "-r", "1"}, "weights");
    expect_shortfall({program("lfm-bench"), "--roofline", "--shape",
                      "lfm2,n_layer=1,attention=0,n_embd=131072,n_head=2048,n_head_kv=2048:F32"},
                     "weights");
}

TEST_F(AvailableMemory, BoundsAnEditedPlan) {
    // What the file says of its memory stays; what it asks for does not.
    const std::string longer = edited_plan([](auto& json) {
        json["request"]["n_ctx"] = 1u << 21;
        json["request"]["ram_budget_bytes"] = std::uint64_t{1} << 30;
    });
    expect_shortfall({program("lfm-run"), "-p", "Hi", "--plan", longer}, "the plan's budget is");
    const std::string richer = edited_plan([](auto& json) {
        json["request"]["n_ctx"] = 1u << 30;
        json["request"]["ram_budget_bytes"] = std::uint64_t{1} << 50;
    });
    expect_shortfall({program("lfm-run"), "-p", "Hi", "--plan", richer}, "KV cache");
}

}  // namespace
}  // namespace lfm::test
