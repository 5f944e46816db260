// A model with a key or tensor that is not computed with: every tool refuses it by name, and loads it when told to.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

std::string program(const std::string& name) { return LFM_BINARY_DIR "/bin/" + name; }

class AllowUnknown : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(run({program("lfm-eval"), "make", "--shape",
                       "lfm2moe,n_layer=3,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_vocab=600:Q4_0", "-o",
                       model_})
                      .code,
                  0);
        std::ifstream file(model_, std::ios::binary);
        sound_ = {std::istreambuf_iterator<char>(file), {}};
        std::ofstream(text_) << "Once upon a time, there was a fox.";
    }

    /// Every tool that loads a model, at work on it.
    std::vector<std::vector<std::string>> commands() const {
        return {{program("lfm-run"), "-m", model_, "-p", "Hi", "-n", "2"},
                {program("lfm-bench"), "-m", model_, "-p", "4", "-n", "0", "-r", "1", "--no-warmup"},
                {program("lfm-plan"), "-m", model_, "--profile", "ddr5-5600"},
                {program("lfm-eval"), "logits", "-m", model_, "--tokens", "1,2", "-o", dir_.file("logits")},
                {program("lfm-eval"), "perplexity", "-m", model_, "-f", text_},
                {program("lfm-eval"), "routing", "-m", model_, "-f", text_, "-o", dir_.file("routing")}};
    }

    /// The file with one name in it replaced by another of the same length.
    void rename(const std::string& from, const std::string& to) const {
        ASSERT_EQ(from.size(), to.size());
        std::string bytes = sound_;
        bytes.replace(bytes.find(from), from.size(), to);
        std::ofstream(model_, std::ios::binary) << bytes;
    }

    ScratchDir dir_;
    const std::string model_ = dir_.file("model.gguf"), text_ = dir_.file("text.txt");
    std::string sound_;
};

TEST_F(AllowUnknown, EveryToolRefusesByNameAndLoadsWithAWarning) {
    for (const auto& [from, to] : {std::pair("lfm2moe.vocab_size", "lfm2moe.head_scale"),
                                   std::pair("blk.2.exp_probs_b.bias", "blk.2.attn_q_____.bias")}) {
        rename(from, to);
        for (std::vector<std::string> command : commands()) {
            const Result refused = run(command);
            EXPECT_EQ(refused.code, 4) << refused.err;
            EXPECT_EQ(refused.out, "");
            EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
            EXPECT_NE(refused.err.find(std::string("--allow-unknown ") + to), std::string::npos) << refused.err;
            command.insert(command.end(), {"--allow-unknown", "nothing", "--allow-unknown", to});
            const Result allowed = run(command);
            EXPECT_EQ(allowed.code, 0) << allowed.err;
            EXPECT_NE(allowed.err.find(std::string("without ") + to), std::string::npos) << allowed.err;
        }
    }
}

TEST_F(AllowUnknown, WhatIsMadeHereLoadsWithoutAWord) {
    for (std::vector<std::string> command : commands()) {
        const Result result = run(command);
        EXPECT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.err;
    }
}

TEST_F(AllowUnknown, NeedsAFileAndAName) {
    EXPECT_EQ(run({program("lfm-bench"), "--shape", "lfm2-350m:Q4_0", "--allow-unknown", "x"}).code, 2);
    EXPECT_EQ(run({program("lfm-plan"), "--shape", "lfm2-350m:Q4_0", "--allow-unknown", "x"}).code, 2);
    EXPECT_EQ(run({program("lfm-run"), "-p", "Hi", "--allow-unknown", ""}).code, 2);
}

}  // namespace
}  // namespace lfm::test
