// A simulated device keeps the whole machine's time, the host's part included: programs measure there what was
// predicted.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/tools/least_budget.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

using Words = std::vector<std::string>;

const Words kDevice{"-m",        LFM_SOURCE_DIR "/tools/demo_model/demo.gguf",        "--backend", "sim",
                    "--profile", LFM_SOURCE_DIR "/profiles/gpu/rtx-4060-ti-16gb.json"};

/// By the budget, in MiB above the least: from a split that is mostly the host's to everything on the device. (With the
/// least itself the CPU alone is faster, and chosen.)
class SimulatedSpeed : public testing::TestWithParam<int> {
protected:
    Words command(const std::string& program, const Words& words) const {
        return with_budget({LFM_BINARY_DIR "/bin/" + program}, words);
    }
    /// `words` begin with the subcommand.
    Words eval_command(const Words& words) const {
        return with_budget({LFM_BINARY_DIR "/bin/lfm-eval", words.front()}, {words.begin() + 1, words.end()});
    }
    Words with_budget(Words all, const Words& words) const {
        all.insert(all.end(), kDevice.begin(), kDevice.end());
        all.insert(all.end(), words.begin(), words.end());
        const std::string budget = least_budget_and(all, GetParam());
        all.insert(all.end(), {"--vram-budget", budget, "--trace", trace_});
        return all;
    }

    /// How many events the trace's lane of that name has.
    std::size_t n_events(const std::string& lane) const {
        std::stringstream text;
        text << std::ifstream(trace_).rdbuf();
        const auto trace = nlohmann::json::parse(text.str());
        std::size_t n = 0;
        std::string names_thread;
        for (const auto& event : trace["traceEvents"])
            if (event.value("name", "") == "thread_name" && event["args"].value("name", "") == lane)
                names_thread = event["tid"].dump();
        for (const auto& event : trace["traceEvents"])
            n += event.value("ph", "") == "X" && event["tid"].dump() == names_thread;
        return n;
    }

    ScratchDir dir_;
    std::string trace_ = dir_.file("trace.json");
};

TEST_P(SimulatedSpeed, LfmRunMeasuresWhatWasPredicted) {
    const Result result = run(command("lfm-run", {"-p", "Tell me a story about a fox.", "-n", "60", "-v"}));
    ASSERT_EQ(result.code, 0) << result.err;
    const auto at = result.err.find("predicted ");
    ASSERT_NE(at, std::string::npos) << result.err;
    double predicted = 0, measured = 0;
    std::sscanf(result.err.c_str() + at, "predicted %lf", &predicted);
    std::sscanf(result.err.c_str() + result.err.find("measured ", at), "measured %lf", &measured);
    EXPECT_NEAR(measured / predicted, 1, 0.1) << result.err;
    const auto busy = result.err.find("CPU at work ");
    if (busy != std::string::npos) {
        double percent = 0;
        std::sscanf(result.err.c_str() + busy, "CPU at work %lf", &percent);
        EXPECT_LE(percent, 100) << result.err;
    }
    EXPECT_GT(n_events("device"), 0u);
    if (GetParam() < 7) {
        EXPECT_GT(n_events("host"), 0u);
    }
}

TEST_P(SimulatedSpeed, LfmBenchMeasuresWhatWasPredicted) {
    const Result result = run(command("lfm-bench", {"-p", "0", "-n", "64", "-r", "1", "-o", "json"}));
    ASSERT_EQ(result.code, 0) << result.err;
    const auto test = nlohmann::json::parse(result.out).at(0);
    EXPECT_NEAR(test["avg_ts"].get<double>() / test["predicted_ts"].get<double>(), 1, 0.1) << result.out;
}

/// Reads lines like "…: 300 tokens at 5678 tok/s (sim: …), predicted 5700 tok/s".
void expect_as_predicted(const Result& result) {
    ASSERT_EQ(result.code, 0) << result.err;
    const auto at = result.err.find(" tokens at ");
    ASSERT_NE(at, std::string::npos) << result.err;
    double measured = 0, predicted = 0;
    std::sscanf(result.err.c_str() + at, " tokens at %lf", &measured);
    const auto then = result.err.find("predicted ", at);
    ASSERT_NE(then, std::string::npos) << result.err;
    std::sscanf(result.err.c_str() + then, "predicted %lf", &predicted);
    EXPECT_NEAR(measured / predicted, 1, 0.1) << result.err;
}

TEST_P(SimulatedSpeed, LfmEvalMeasuresWhatWasPredicted) {
    const std::string text = dir_.file("text");
    for (int i = 0; i < 40; ++i) std::ofstream(text, std::ios::app) << "Once upon a time there was a fox who slept. ";
    for (const Words& words : {Words{"perplexity", "-f", text}, Words{"perplexity", "-f", text, "-b", "1"},
                               Words{"logits", "--tokens", "1,20,300,21,33,77,90,91", "-o", dir_.file("logits")}}) {
        expect_as_predicted(run(eval_command(words)));
        EXPECT_GT(n_events("device"), 0u);
        if (GetParam() < 5) {  // with more, all of it is on the device
            EXPECT_GT(n_events("host"), 0u);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(FromTheLeastBudgetToAll, SimulatedSpeed, testing::Values(1, 2, 3, 5, 40));

}  // namespace
}  // namespace lfm::test
