// lfm-eval and lfm-bench as a user calls them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <nlohmann/json.hpp>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kEval = LFM_BINARY_DIR "/bin/lfm-eval";
const std::string kBench = LFM_BINARY_DIR "/bin/lfm-bench";
constexpr const char* kShape = "lfm2moe,n_layer=3,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_vocab=600:Q4_0";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

class EvalTest : public testing::Test {
protected:
    void SetUp() override {
        const Result made = run({kEval, "make", "--shape", kShape, "-o", model_});
        ASSERT_EQ(made.code, 0) << made.err;
        EXPECT_EQ(made.out, "");
    }
    ScratchDir dir_;
    std::string model_ = dir_.file("made.gguf");
};

TEST_F(EvalTest, MakeIsRepeatableBySeed) {
    ASSERT_EQ(run({kEval, "make", "--shape", kShape, "-o", dir_.file("again.gguf")}).code, 0);
    ASSERT_EQ(run({kEval, "make", "--shape", kShape, "-o", dir_.file("other.gguf"), "--seed", "2"}).code, 0);
    EXPECT_EQ(read_file(dir_.file("again.gguf")), read_file(model_));
    EXPECT_NE(read_file(dir_.file("other.gguf")), read_file(model_));
}

TEST_F(EvalTest, MakeSaysWhatIsWrongAndLeavesNothing) {
    const Result full = run({kEval, "make", "--shape", kShape, "-o", "/dev/full/x.gguf"});
    EXPECT_EQ(full.code, 1);
    EXPECT_NE(full.err.find("/dev/full/x.gguf"), std::string::npos) << full.err;
    const Result small = run({kEval, "make", "--shape", "lfm2,n_vocab=100:F16", "-o", dir_.file("small.gguf")});
    EXPECT_EQ(small.code, 2);
    EXPECT_NE(small.err.find("n_vocab"), std::string::npos) << small.err;
    EXPECT_FALSE(std::filesystem::exists(dir_.file("small.gguf")));
    EXPECT_FALSE(std::filesystem::exists(dir_.file("small.gguf.tmp")));
}

TEST_F(EvalTest, LogitsOfEveryPositionInAnyBatchAndThreads) {
    const auto logits = [&](const std::vector<std::string>& more) {
        std::vector<std::string> command{kEval,      "logits",         "-m", model_,
                                         "--tokens", "1,20,300,599,7", "-o", dir_.file("out.f32")};
        command.insert(command.end(), more.begin(), more.end());
        const Result result = run(command);
        EXPECT_EQ(result.code, 0) << result.err;
        return read_file(dir_.file("out.f32"));
    };
    const std::string whole = logits({});
    EXPECT_EQ(whole.size(), 5 * 600 * sizeof(float));
    EXPECT_EQ(logits({"--threads", "1"}), whole);
    EXPECT_EQ(logits({"--threads", "3"}), whole);
    const std::string exact = logits({"--exact"});
    EXPECT_NE(exact, whole);
    EXPECT_EQ(logits({"--exact", "--n-batch=2"}), exact);
}

TEST_F(EvalTest, RoutesGoOutAndIn) {
    const std::string routes = dir_.file("routes.json");
    const std::vector<std::string> common{kEval,      "logits",   "-m", model_,
                                          "--tokens", "1,20,300", "-o", dir_.file("out.f32")};
    auto command = common;
    command.insert(command.end(), {"--routes-out", routes});
    ASSERT_EQ(run(command).code, 0);
    const std::string free = read_file(dir_.file("out.f32"));
    auto json = nlohmann::json::parse(read_file(routes));
    ASSERT_EQ(json["routes"].size(), 2u);        // MoE layers
    ASSERT_EQ(json["routes"][0].size(), 3u);     // tokens
    ASSERT_EQ(json["routes"][0][0].size(), 2u);  // choices

    command = common;
    command.insert(command.end(), {"--routes", routes});
    ASSERT_EQ(run(command).code, 0);
    EXPECT_EQ(read_file(dir_.file("out.f32")), free);

    const int other = (json["routes"][0][2][0].get<int>() + 3) % 8;
    json["routes"][0][2] = {other, (other + 1) % 8};
    std::ofstream(routes) << json;
    ASSERT_EQ(run(command).code, 0);
    EXPECT_NE(read_file(dir_.file("out.f32")), free);

    for (const char* bad :
         {"", "[]", "{}", "{\"routes\":[]}", "{\"routes\":[[[0,99]],[]]}", "{\"routes\":3}", "[[[[["}) {
        std::ofstream(routes) << bad;
        const Result result = run(command);
        EXPECT_EQ(result.code, 1) << bad;
        EXPECT_NE(result.err.find("routes.json"), std::string::npos) << result.err;
    }
}

TEST_F(EvalTest, BadTokensAndOptionsAreUsage) {
    for (const char* tokens : {"", "1,,2", "a", "1;2", "99999999999"}) {
        const Result result = run({kEval, "logits", "-m", model_, "--tokens", tokens, "-o", dir_.file("x")});
        EXPECT_EQ(result.code, 2) << tokens << result.err;
    }
    EXPECT_EQ(run({kEval, "logits", "-m", model_, "--tokens", "600", "-o", dir_.file("x")}).code, 1);
    EXPECT_EQ(run({kEval, "logits", "-m", model_, "--tokens", "-1", "-o", dir_.file("x")}).code, 1);
    EXPECT_EQ(run({kEval, "logits", "-m", model_, "--tokens", "1", "-o", dir_.file("x"), "--threads", "0"}).code, 2);
    EXPECT_EQ(run({kEval, "logits", "-m", model_}).code, 2);
    EXPECT_EQ(run({kEval, "logits", "--no-such-option"}).code, 2);
    EXPECT_EQ(run({kEval, "unknown"}).code, 2);
    EXPECT_EQ(run({kEval}).code, 2);
    EXPECT_EQ(run({kEval, "--help"}).code, 0);
    for (const char* command : {"logits", "tokenize", "template", "perplexity", "make"})
        EXPECT_EQ(run({kEval, command, "--help"}).code, 0) << command;
}

TEST_F(EvalTest, BadFilesExitWithFour) {
    std::ofstream(dir_.file("empty.gguf"));
    std::ofstream(dir_.file("foreign.gguf")) << "PK\3\4 this is a zip";
    std::ofstream(dir_.file("cut.gguf")) << read_file(model_).substr(0, 60000);
    for (const char* name : {"missing.gguf", "empty.gguf", "foreign.gguf", "cut.gguf"}) {
        const Result result = run({kEval, "logits", "-m", dir_.file(name), "--tokens", "1", "-o", dir_.file("x")});
        EXPECT_EQ(result.code, 4) << name;
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
        EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
    }
}

TEST_F(EvalTest, TokenizeMakesAndSplitsLines) {
    const Result one = run({kEval, "tokenize", "-m", model_}, "the end");
    EXPECT_EQ(one.code, 0) << one.err;
    EXPECT_EQ(std::ranges::count(one.out, '\n'), 1);
    const Result three = run({kEval, "tokenize", "-m", model_, "--nul"}, std::string("the end\0\0the end", 16));
    std::vector<std::string> lines;
    std::istringstream stream(three.out);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0] + "\n", one.out);
    EXPECT_EQ(lines[1], "");
    EXPECT_EQ(lines[2], lines[0]);
    EXPECT_EQ(run({kEval, "tokenize", "-m", model_, "--parse-special"}, "<|im_end|>").out, "7\n");
    EXPECT_NE(run({kEval, "tokenize", "-m", model_}, "<|im_end|>").out, "7\n");
}

TEST_F(EvalTest, TemplateRendersTheModelsOwn) {
    const Result result = run({kEval, "template", "-m", model_},
                              R"({"messages":[{"role":"user","content":"Hi"}],"add_generation_prompt":true})");
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, "<|startoftext|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(result.err, "");  // our own template is known
    EXPECT_EQ(run({kEval, "template", "-m", model_}, "{").code, 1);
}

TEST_F(EvalTest, PerplexityOfRandomWeightsIsNearTheVocabularysSize) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += "some words that stand for a text ";
    std::ofstream(dir_.file("text")) << text;
    const Result result = run({kEval, "perplexity", "-m", model_, "-f", dir_.file("text"), "-c", "64"});
    ASSERT_EQ(result.code, 0) << result.err;
    double perplexity = 0;
    ASSERT_EQ(std::sscanf(result.out.c_str(), "perplexity %lf", &perplexity), 1) << result.out;
    EXPECT_GT(perplexity, 300);
    EXPECT_LT(perplexity, 1200);
}

TEST_F(EvalTest, BenchPrintsLlamaBenchsKeys) {
    const Result result = run({kBench, "-m", model_, "-p", "8", "-n", "4", "-r", "2", "-o", "json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto rows = nlohmann::json::parse(result.out);
    ASSERT_EQ(rows.size(), 2u);
    for (const char* key : {"model_filename",
                            "model_type",
                            "model_size",
                            "model_n_params",
                            "n_batch",
                            "n_threads",
                            "type_k",
                            "type_v",
                            "n_prompt",
                            "n_gen",
                            "n_depth",
                            "test_time",
                            "avg_ns",
                            "stddev_ns",
                            "avg_ts",
                            "stddev_ts",
                            "samples_ns",
                            "samples_ts",
                            "read_bandwidth_gb_per_s",
                            "achieved_gb_per_s",
                            "bandwidth_share"})
        EXPECT_TRUE(rows[0].contains(key)) << key;
    EXPECT_EQ(rows[0]["n_prompt"], 8);
    EXPECT_EQ(rows[1]["n_gen"], 4);
    EXPECT_EQ(rows[1]["samples_ts"].size(), 2u);
    EXPECT_GT(rows[1]["avg_ts"].get<double>(), 0);
}

TEST_F(EvalTest, BenchOnAShapeInEveryFormat) {
    const std::vector<std::string> common{kBench, "--shape", kShape, "-p", "4,5", "-n", "2", "-d", "0,3", "-r", "1"};
    for (const char* format : {"md", "csv", "json"}) {
        auto command = common;
        command.insert(command.end(), {"-o", format});
        const Result result = run(command);
        EXPECT_EQ(result.code, 0) << result.err;
        if (std::string(format) == "csv") {
            EXPECT_EQ(std::ranges::count(result.out, '\n'), 7);
        }
        if (std::string(format) == "md") {
            EXPECT_NE(result.out.find("tg2 @ d3"), std::string::npos) << result.out;
        }
    }
    EXPECT_EQ(run({kBench, "--shape", "lfm2:Q9"}).code, 2);
    EXPECT_EQ(run({kBench}).code, 2);
    EXPECT_EQ(run({kBench, "--shape", kShape, "-p", "x"}).code, 2);
    EXPECT_EQ(run({kBench, "--shape", kShape, "-o", "xml"}).code, 2);
    EXPECT_EQ(run({kBench, "-m", dir_.file("missing")}).code, 4);
}

}  // namespace
}  // namespace lfm::test
