// lfm-eval logits with other sequences in the same steps: the files are those of a sequence alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "tests/device_kinds.h"
#include "tests/nmse.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kEval = LFM_BINARY_DIR "/bin/lfm-eval";
constexpr const char* kProfile = LFM_SOURCE_DIR "/profiles/gpu/rtx-4060-ti-16gb.json";
constexpr const char* kDense = "lfm2,n_layer=5,n_embd=256,n_head=4,n_head_kv=2,n_ff=256,n_vocab=600,attention=1.3:";
constexpr const char* kMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=256,n_head=4,n_head_kv=2,n_ff=256,n_ff_exp=256,n_expert=8,"
    "n_expert_used=2,n_vocab=600:";
using Options = std::vector<std::string>;

class SharedSteps : public testing::Test {
protected:
    void make(const std::string& shape) {
        const Result made = run({kEval, "make", "--shape", shape, "-o", model_});
        ASSERT_EQ(made.code, 0) << made.err;
    }
    Result run_logits(const Options& more, std::size_t n_tokens = 101) const {
        std::string tokens = "1";
        for (std::size_t i = 1; i < n_tokens; ++i) tokens += "," + std::to_string((i * 7919 + 3) % 600);
        Options command{kEval, "logits", "-m", model_, "--tokens", tokens, "-o", output_, "-b", "48"};
        command.insert(command.end(), more.begin(), more.end());
        return run(command);
    }
    std::string logits(const Options& place, const Options& more, std::size_t n_tokens = 101) const {
        Options options = place;
        options.insert(options.end(), more.begin(), more.end());
        const Result result = run_logits(options, n_tokens);
        EXPECT_EQ(result.code, 0) << result.err;
        return read_file(output_);
    }
    static std::vector<float> floats(const std::string& bytes) {
        std::vector<float> values(bytes.size() / sizeof(float));
        std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
        return values;
    }
    static std::string read_file(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    const Options cpu_{"--backend", "cpu", "-t", "2"};
    const Options sim_{"--backend", "sim", "--profile", kProfile};
    ScratchDir dir_;
    std::string model_ = dir_.file("made.gguf"), output_ = dir_.file("out.f32");
};

/// Cuts and forks on borders of pages and beside them, nearer to the beginning than windows reach, and at the end.
const std::vector<Options> kCases{
    {"--beside", "1"},
    {"--beside", "7", "--seed", "2"},
    {"--beside", "47", "-s", "3"},
    {"--cut", "0"},
    {"--cut", "1"},
    {"--cut", "31"},
    {"--cut", "64", "--seed", "5"},
    {"--cut", "64", "--seed", "9"},
    {"--cut", "37", "--seed", "10"},
    {"--cut", "65", "--beside", "5"},
    {"--cut", "100", "--seed", "6"},
    {"--fork", "0"},
    {"--fork", "1"},
    {"--fork", "32", "--seed", "7"},
    {"--fork", "47"},
    {"--fork", "77", "--beside", "3", "--seed", "8"},
    {"--fork", "100"},
};

class SharedStepsOf : public SharedSteps, public testing::WithParamInterface<std::string> {};

TEST_P(SharedStepsOf, TheFileIsThatOfTheSequenceAlone) {
    make(GetParam());
    for (const Options& place : {cpu_, sim_}) {
        const std::string alone = logits(place, {});
        EXPECT_EQ(alone.size(), 101 * 600 * sizeof(float));
        for (const Options& options : kCases)
            EXPECT_TRUE(logits(place, options) == alone) << place[1] << testing::PrintToString(options);
    }
}

INSTANTIATE_TEST_SUITE_P(Types, SharedStepsOf,
                         testing::Values(kDense + std::string("Q4_K_M"), kMoe + std::string("Q4_0")),
                         [](const auto& type) { return "Model" + std::to_string(type.index); });

TEST_F(SharedSteps, ShortSequencesAndOtherCaches) {
    make(kMoe + std::string("Q4_0"));
    for (const std::size_t n : {1, 2, 33}) {
        const std::string last = std::to_string(n - 1);
        const std::string alone = logits(cpu_, {"-ctk", "q8_0"}, n);
        for (const Options& options : {Options{"--beside", "3"}, {"--cut", last}, {"--fork", last}}) {
            Options more{"-ctk", "q8_0"};
            more.insert(more.end(), options.begin(), options.end());
            EXPECT_TRUE(logits(cpu_, more, n) == alone) << n << testing::PrintToString(options);
        }
    }
}

/// Float weights, as the sums of a row's experts come in an order that depends on where they are.
TEST_F(SharedSteps, ExpertsSplitBetweenHostAndDevice) {
    make(
        "lfm2moe,n_layer=6,n_embd=512,n_head=8,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,n_expert_used=4,"
        "n_vocab=600:F16");
    const std::vector<float> alone = floats(logits(cpu_, {}));
    for (const Options& options : {Options{"--beside", "5"}, {"--cut", "70", "--beside", "2"}, {"--fork", "41"}}) {
        Options more = sim_;
        more.insert(more.end(), {"--vram-budget", "400MiB"});
        more.insert(more.end(), options.begin(), options.end());
        const Result result = run_logits(more);
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(result.err.find("VRAM, 80 of 80"), std::string::npos) << result.err;
        EXPECT_EQ(result.err.find("VRAM, 0 of 80"), std::string::npos) << result.err;
        const std::vector<float> found = floats(read_file(output_));
        ASSERT_EQ(found.size(), alone.size());
        EXPECT_LE(nmse(found, alone), 1e-9) << testing::PrintToString(options);
    }
}

TEST_F(SharedSteps, RoutesGoOutAndIn) {
    make(kMoe + std::string("Q4_0"));
    const std::string routes = dir_.file("routes.json"), found = dir_.file("found.json");
    logits(cpu_, {"--routes-out", routes});
    const std::string free = read_file(routes);
    auto json = nlohmann::json::parse(free);
    for (auto& layer : json["routes"])
        for (std::size_t t = 0; t < layer.size(); ++t) layer[t] = {t % 8, (t + 3) % 8};
    std::ofstream(routes) << json;
    const std::string forced = logits(cpu_, {"--routes", routes});
    for (const Options& options : {Options{"--beside", "5"}, {"--cut", "70", "--beside", "2"}, {"--fork", "40"}}) {
        Options more = options;
        more.insert(more.end(), {"--routes-out", found});
        logits(cpu_, more);
        EXPECT_EQ(read_file(found), free) << testing::PrintToString(options);
        more.insert(more.end(), {"--routes", routes});
        EXPECT_TRUE(logits(cpu_, more) == forced) << testing::PrintToString(options);
        EXPECT_EQ(nlohmann::json::parse(read_file(found)), json) << testing::PrintToString(options);
    }
}

TEST_F(SharedSteps, WhatComesFromADiskIsTheSame) {
    make(kMoe + std::string("Q4_0"));
    for (const Options& place : {cpu_, sim_}) {
        const std::string alone = logits(place, {}), folder = dir_.file("prefixes");
        const auto n_files = [&] {
            return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator{});
        };
        for (int time = 0; time < 2; ++time)
            for (const Options& cut : {Options{"--cut", "70"}, {"--cut", "70", "--beside", "3"}, {"--cut", "5"}, {}}) {
                Options options{"--disk", folder};
                options.insert(options.end(), cut.begin(), cut.end());
                EXPECT_TRUE(logits(place, options) == alone) << place[1] << testing::PrintToString(cut);
            }
        EXPECT_EQ(n_files(), place == cpu_ ? 1 : 2) << "another arithmetic has files of its own";
    }
}

TEST_F(SharedSteps, WhatIsWrongIsUsage) {
    make(kDense + std::string("Q4_K_M"));
    for (const Options& wrong : {Options{"--beside", "0"},
                                 {"--beside", "64"},
                                 {"--beside", "x"},
                                 {"--beside", "48"},  // one row more than the batch has
                                 {"--cut", "-1"},
                                 {"--cut", "101"},
                                 {"--fork", "101"},
                                 {"--cut", "3", "--fork", "4"},
                                 {"--disk", dir_.file("prefixes"), "--fork", "4"},
                                 {"--seed", "4"},
                                 {"--beside", "2", "--seed", "-1"}}) {
        const Result result = run_logits(wrong);
        EXPECT_EQ(result.code, 2) << testing::PrintToString(wrong);
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
        EXPECT_FALSE(std::filesystem::exists(output_));
    }
    const Result result = run({kEval, "logits", "-m", model_, "--tokens", "600", "-o", output_, "--beside", "1"});
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("token id"), std::string::npos) << result.err;
}

TEST_F(SharedSteps, OnADeviceTheyStayNear) {
    if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
    make(kDense + std::string("F16"));
    const Options vulkan{"--backend", "vulkan", "--profile", kProfile};
    const std::vector<float> alone = floats(logits(vulkan, {}, 45));
    for (const Options& options : {Options{"--beside", "3"}, {"--cut", "37"}, {"--fork", "33"}}) {
        const std::vector<float> found = floats(logits(vulkan, options, 45));
        ASSERT_EQ(found.size(), alone.size());
        EXPECT_LT(nmse(found, alone), 1e-5) << testing::PrintToString(options);
    }
}

}  // namespace
}  // namespace lfm::test
