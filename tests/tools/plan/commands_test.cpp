// The commands that lfm-plan prints run in a shell and give the same plan.
#include "tools/plan/commands.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

using Words = std::vector<std::string>;
using tools::shell_quoted;

const std::string kPrograms = LFM_BINARY_DIR "/bin/";
constexpr const char* kSplit =
    "lfm2moe,n_layer=6,n_embd=512,n_head=8,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,n_expert_used=4,n_vocab=2000:"
    "Q4_0";

TEST(ShellQuoted, ReadsBackAsOneWord) {
    EXPECT_EQ(shell_quoted("a/b.gguf"), "a/b.gguf");
    for (const std::string word : {"", "a b", "it's", "$HOME", "`x`", "a\nb", "*", "~", "\\", "a;b", "\"", "-x y"}) {
        const Result result = run({"/bin/sh", "-c", "printf %s " + shell_quoted(word)});
        EXPECT_EQ(result.out, word) << shell_quoted(word);
    }
}

class PlanCommandsTest : public testing::Test {
protected:
    void SetUp() override {
        const Result made = run({kPrograms + "lfm-eval", "make", "--shape", kSplit, "-o", model_});
        ASSERT_EQ(made.code, 0) << made.err;
        // A machine with two devices, planned as simulated ones, so that the commands can run on any machine.
        std::ifstream card(LFM_SOURCE_DIR "/profiles/gpu/rtx-4060-ti-16gb.json");
        auto json = nlohmann::ordered_json::parse(card);
        json["devices"][0]["backend"] = "sim";
        json["devices"].push_back(json["devices"][0]);
        json["devices"][1]["name"] = "The other card";
        std::ofstream(profile_) << json;
    }

    /// The line that begins with `label`, as a shell's command.
    std::string command_of(const std::string& text, const std::string& label) const {
        const std::size_t at = text.find("\n" + label) + 1 + label.size();
        return "exec " + kPrograms + text.substr(at, text.find('\n', at) - at);
    }
    /// The part of the text that says where everything is.
    static std::string placement_of(const std::string& text) {
        const std::size_t begin = text.find("\nmemory "), end = text.find("a token's time", begin);
        return begin == std::string::npos ? "none in " + text : text.substr(begin, end - begin);
    }
    Result plan(const Words& more) const {
        Words words{"/usr/bin/env", "LC_ALL=C", kPrograms + "lfm-plan", "-m", model_, "--profile", profile_};
        words.insert(words.end(), more.begin(), more.end());
        return run(words);
    }
    /// A little more than the least, so that experts are split.
    std::string budget(const Words& more) const {
        Words words = more;
        words.insert(words.end(), {"--vram-budget", "1MiB"});
        const std::string err = plan(words).err;
        return std::to_string(std::atoi(err.c_str() + err.find("at least ") + 9) + 9) + "MiB";
    }

    ScratchDir dir_;
    std::string model_ = dir_.file("it's a model.gguf"), profile_ = dir_.file("two cards & $HOME.json");
};

TEST_F(PlanCommandsTest, RunAsPlannedWhateverShapedThePlan) {
    const std::vector<Words> ways{{},
                                  {"-c", "300", "-b", "100", "-ctk", "q8_0", "-ctv", "f32"},
                                  {"--ram-budget", "1GiB", "--device", "1", "-c", "1000"},
                                  {"--skew", "1.25", "--locality", "0.3", "-c", "128"}};
    for (Words way : ways) {
        SCOPED_TRACE(way.empty() ? "" : way[0] + " " + way[1]);
        way.insert(way.end(), {"--vram-budget", budget(way)});
        const Result planned = plan(way);
        ASSERT_EQ(planned.code, 0) << planned.err;
        const Result ran = run(
            {"/bin/sh", "-c", command_of(planned.out, "run:    ") + " --backend sim -v --no-chat -p Hi -n 1 --temp 0"});
        ASSERT_EQ(ran.code, 0) << ran.err;
        EXPECT_EQ(placement_of(ran.err), placement_of(planned.out)) << planned.out;

        const Result measured =
            run({"/bin/sh", "-c", command_of(planned.out, "verify: ") + " --backend sim -r 1 --no-warmup -o json"});
        ASSERT_EQ(measured.code, 0) << measured.err;
        const auto row = nlohmann::json::parse(measured.out)[0];
        const auto json = [&] {
            Words with_json = way;
            with_json.insert(with_json.end(), {"-o", "json"});
            return nlohmann::json::parse(plan(with_json).out);
        }();
        EXPECT_EQ(row["type_k"], json["request"]["cache_type_k"]) << row << json["request"];
        EXPECT_EQ(row["n_batch"], json["request"]["n_batch"]);
    }
}

TEST_F(PlanCommandsTest, NameEverythingThatShapedThePlan) {
    const Result planned = plan({"-c", "300", "-b", "100", "-ctk", "q8_0", "-ctv", "f32", "--ram-budget", "1GiB",
                                 "--device", "1", "--vram-budget", "8GiB"});
    ASSERT_EQ(planned.code, 0) << planned.err;
    for (const char* label : {"run:    ", "verify: "}) {
        const std::string command = command_of(planned.out, label);
        for (const char* said : {"-c 300", "-b 100", "-ctk q8_0", "-ctv f32", "--ram-budget 1GiB", "--device 1",
                                 "--vram-budget 8GiB", "'", "--profile "})
            EXPECT_NE(command.find(said), std::string::npos) << said << " in " << command;
    }
    const Result alone = plan({"--vram-budget", "0"});
    EXPECT_NE(command_of(alone.out, "run:    ").find("--vram-budget 0"), std::string::npos) << alone.out;
    // A share of the memory, as the bytes that it was.
    const Result share = plan({"--vram-budget", "33.3%"});
    EXPECT_NE(command_of(share.out, "run:    ").find("B -c"), std::string::npos) << share.out;
}

TEST_F(PlanCommandsTest, VerifyAtAnyDepthHasRoom) {
    for (const Words& way :
         {Words{"-c", "1"}, {"-c", "2"}, {"-c", "100", "--depth", "100"}, {"-c", "64", "--depth", "0"}}) {
        Words words = way;
        words.insert(words.end(), {"--vram-budget", "0"});
        const Result planned = plan(words);
        ASSERT_EQ(planned.code, 0) << planned.err;
        const Result measured = run({"/bin/sh", "-c", command_of(planned.out, "verify: ") + " -r 1"});
        EXPECT_EQ(measured.code, 0) << measured.err << planned.out;
    }
}

}  // namespace
}  // namespace lfm::test
