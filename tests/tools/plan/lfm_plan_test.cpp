// lfm-plan, and lfm-run with its plans, as a user calls them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kPlan = LFM_BINARY_DIR "/bin/lfm-plan";
const std::string kRun = LFM_BINARY_DIR "/bin/lfm-run";
const std::string kEval = LFM_BINARY_DIR "/bin/lfm-eval";
constexpr const char* kCard = "rtx-4060-ti-16gb+ddr5-5600";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

Result plan(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kPlan);
    return run(arguments);
}

Result plan24(const std::string& type, const std::string& budget, std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"--shape", "lfm2-24b-a2b:" + type, "--profile", kCard, "--vram-budget", budget, "-c", "8192"});
    return plan(more);
}

std::size_t n_lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

TEST(LfmPlan, SaysOnOneScreenThatAModelFits) {
    const Result result = plan24("Q4_K_M", "16GiB");
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(result.err.empty()) << result.err;
    for (const char* said :
         {"fits: ", "of 16.0 GiB VRAM", "tok/s", "experts", "KV cache", "driver context", "run:", "verify:"})
        EXPECT_NE(result.out.find(said), std::string::npos) << said << '\n' << result.out;
    EXPECT_LE(n_lines(result.out), 50u);
}

TEST(LfmPlan, SplitsSingleExpertsWhereNotAllFit) {
    for (const auto& [type, budget] :
         {std::pair("Q8_0", "16GiB"), std::pair("Q4_K_M", "8GiB"), std::pair("Q4_K_M", "4GiB")}) {
        const Result result = plan24(type, budget, {"-o", "json"});
        ASSERT_EQ(result.code, 0) << result.err;
        const auto json = nlohmann::json::parse(result.out);
        int n_split_layers = 0;
        for (const auto& layer : json.at("placement").at("layers")) {
            const std::size_t n = layer.at("experts_on_device").size();
            n_split_layers += n > 0 && n < 64;
        }
        EXPECT_GT(n_split_layers, 30) << type << ' ' << budget;
    }
}

TEST(LfmPlan, ZeroIsTheCpuAloneAndTooLittleNamesTheMinimum) {
    const Result none = plan24("Q4_K_M", "0");
    EXPECT_EQ(none.code, 0) << none.err;
    EXPECT_EQ(none.out.find("VRAM,"), std::string::npos) << none.out;
    const Result little = plan24("Q4_K_M", "100MiB");
    EXPECT_EQ(little.code, 3);
    EXPECT_EQ(little.out, "");
    EXPECT_EQ(n_lines(little.err), 1u) << little.err;
    EXPECT_NE(little.err.find("needs at least"), std::string::npos) << little.err;
    // The minimum that it names is enough, rounded up.
    const std::size_t at = little.err.find("at least ") + 9;
    const int mib = std::stoi(little.err.substr(at)) + 10;
    EXPECT_EQ(plan24("Q4_K_M", std::to_string(mib) + "MiB").code, 0) << little.err;
}

TEST(LfmPlan, TooLittleRamIsAShortfallToo) {
    const Result result = plan24("F16", "8GiB", {"--ram-budget", "16GiB"});
    EXPECT_EQ(result.code, 3);
    EXPECT_NE(result.err.find("RAM"), std::string::npos) << result.err;
}

TEST(LfmPlan, ClampsABudgetAboveTheDeviceAndSaysSo) {
    const Result result = plan24("Q8_0", "20GiB");
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_NE(result.out.find("reduced to that"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("of 16.0 GiB VRAM"), std::string::npos) << result.out;
}

TEST(LfmPlan, SweepsAndHtml) {
    const Result sweep =
        plan({"--shape", "lfm2-24b-a2b:Q8_0", "--profile", kCard, "-c", "8192", "--sweep", "0,4GiB,16GiB"});
    EXPECT_EQ(sweep.code, 0) << sweep.err;
    EXPECT_EQ(n_lines(sweep.out), 5u) << sweep.out;
    const Result html = plan24("Q8_0", "16GiB", {"-o", "html"});
    EXPECT_EQ(html.code, 0) << html.err;
    EXPECT_TRUE(html.out.starts_with("<!doctype html>") || html.out.starts_with("<!DOCTYPE html>"));
}

TEST(LfmPlan, WrongUseIsOneLineAndTwo) {
    const std::vector<std::vector<std::string>> wrong{
        {},
        {"--shape", "lfm2-24b-a2b"},
        {"--shape", "gpt:Q4_0"},
        {"--shape", "lfm2-1.2b:Q4_0", "-m", "x.gguf"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", "rtx-0000"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--vram-budget", "lots"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--vram-budget", "120%"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--device", "2"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--depth", "9000", "-c", "8192"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "-b", "0"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "-o", "pdf"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--skew", "nan"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "-ctk", "q4_0"},
        {"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--sweep", "1GiB,x"}};
    for (const auto& arguments : wrong) {
        const Result result = plan(arguments);
        EXPECT_EQ(result.code, 2) << result.err;
        EXPECT_EQ(result.out, "");
        EXPECT_EQ(n_lines(result.err), 1u) << result.err;
    }
    EXPECT_EQ(plan({"-m", "/nowhere.gguf", "--profile", kCard}).code, 4);
    EXPECT_EQ(plan({"--shape", "lfm2-1.2b:Q4_0", "--profile", kCard, "--routing", "/nowhere.json"}).code, 1);
}

class PlannedRunTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(run({kEval, "make", "--shape", "lfm2moe:Q4_0", "-o", model_}).code, 0);
        const Result made = plan({"-m", model_, "--profile", "ddr5-5600", "-c", "256", "-o", "json"});
        ASSERT_EQ(made.code, 0) << made.err;
        write_file(plan_, made.out);
    }
    Result run_with(const std::string& plan_file) {
        return run({kRun, "-m", model_, "--plan", plan_file, "--no-chat", "-p", "Hi", "-n", "4", "--temp", "0"});
    }
    ScratchDir dir_;
    std::string model_ = dir_.file("model.gguf"), plan_ = dir_.file("plan.json");
};

TEST_F(PlannedRunTest, ObeysAPlanOfItsModel) {
    const Result result = run_with(plan_);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_FALSE(result.out.empty());
}

TEST_F(PlannedRunTest, RefusesAPlanOfAnotherModelNamingTheDifference) {
    ASSERT_EQ(run({kEval, "make", "--shape", "lfm2moe,n_layer=5:Q4_0", "-o", model_}).code, 0);
    const Result result = run_with(plan_);
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("model.n_layer: the plan says 4, found 5"), std::string::npos) << result.err;
    ASSERT_EQ(run({kEval, "make", "--shape", "lfm2moe:Q8_0", "-o", model_}).code, 0);
    EXPECT_NE(run_with(plan_).err.find("model.weights_bytes"), std::string::npos);
}

TEST_F(PlannedRunTest, RefusesAPlanForADeviceThatIsNotThere) {
    const Result made = plan({"-m", model_, "--profile", kCard, "--vram-budget", "8GiB", "-c", "256", "-o", "json"});
    ASSERT_EQ(made.code, 0) << made.err;
    write_file(plan_, made.out);
    const Result result = run_with(plan_);
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("RTX 4060 Ti"), std::string::npos) << result.err;
}

TEST_F(PlannedRunTest, RefusesAPlanOfAnotherMachine) {
    auto json = nlohmann::ordered_json::parse(read_file(plan_));
    json["machine"]["measured_at"] = "2026-11-01T00:00:00Z";  // now it is a measured one, of that machine alone
    write_file(plan_, json.dump());
    const Result result = run_with(plan_);
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("machine."), std::string::npos) << result.err;
}

TEST_F(PlannedRunTest, RefusesADamagedPlan) {
    const std::string text = read_file(plan_);
    write_file(plan_, text.substr(0, text.size() / 2));
    const Result result = run_with(plan_);
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(n_lines(result.err), 1u) << result.err;
    EXPECT_EQ(run_with("/nowhere.json").code, 1);
}

TEST_F(PlannedRunTest, ARamBudgetThatIsTooSmallIsThree) {
    const Result result = run({kRun, "-m", model_, "--ram-budget", "1MiB", "-p", "Hi"});
    EXPECT_EQ(result.code, 3);
    EXPECT_NE(result.err.find("needs"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace lfm::test
