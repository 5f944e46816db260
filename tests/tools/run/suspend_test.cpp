// Ctrl-Z while tokens are generated: the running step ends first, and all continues as if nothing had happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "planner/model/shape.h"
#include "runtime/tensors/random_model_file.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kRun = LFM_BINARY_DIR "/bin/lfm-run";
const std::string kBench = LFM_BINARY_DIR "/bin/lfm-bench";
constexpr int kPauses = 3;
constexpr std::chrono::milliseconds kPause{700};

/// Steps of some milliseconds, with little between them.
constexpr const char* kShape = "lfm2,n_layer=8,attention=3.7,n_embd=512,n_head=8,n_ff=2048,n_ctx=65536:Q8_0";

struct Pauses {
    int n_long_steps = 0;  // which a stop fell into
    int n_gaps = 0;        // between steps
};

/// Found by the trace's times, which are in µs.
Pauses pauses_in(const std::string& trace_file) {
    std::ifstream file(trace_file);
    const auto trace = nlohmann::json::parse(file);
    constexpr double kLong = std::chrono::duration<double, std::micro>(kPause).count() * 0.8;
    Pauses pauses;
    double last_end = -1;
    for (const auto& event : trace["traceEvents"]) {
        if (event["name"] != "step") continue;
        const double begin = event["ts"], seconds = event["dur"];
        if (seconds > kLong) ++pauses.n_long_steps;
        if (last_end >= 0 && begin - last_end > kLong) ++pauses.n_gaps;
        last_end = begin + seconds;
    }
    return pauses;
}

/// Waits until the process has used half a second of processor time.
void wait_for_work(pid_t id) {
    const auto enough = static_cast<unsigned long>(::sysconf(_SC_CLK_TCK)) / 2;
    for (unsigned long ticks = 0; ticks < enough && ::kill(id, 0) == 0; ::usleep(10'000)) {
        std::ifstream file("/proc/" + std::to_string(id) + "/stat");
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        std::istringstream fields(text.substr(text.rfind(')') + 1));
        std::string skipped;
        for (int i = 3; i < 14; ++i) fields >> skipped;  // proc(5) counts from 1; a zombie's times stay
        if (skipped.empty() || !(fields >> ticks)) return;
    }
}

void suspend_and_go_on(Process& process) {
    for (int i = 0; i < kPauses; ++i) {
        process.signal(SIGTSTP);
        ASSERT_TRUE(stops(process.id(), kStopsWithin));
        std::this_thread::sleep_for(kPause);
        process.signal(SIGCONT);
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
}

TEST(Suspend, AnAnswerIsTheSameAndNoStepIsCut) {
    const ScratchDir dir;
    const std::string model = dir.file("slow.gguf"), trace = dir.file("trace.json");
    write_random_model(describe_shape(kShape), model, 1);
    const std::vector<std::string> command{kRun, "-m", model, "-p", "Hi", "--temp", "0", "-n", "400"};
    auto traced = command;
    traced.insert(traced.end(), {"--trace", trace});
    Process process(traced);
    process.wait_for_output(1);
    suspend_and_go_on(process);
    ASSERT_EQ(process.wait(), 0) << process.stderr_text;

    const Pauses pauses = pauses_in(trace);
    EXPECT_EQ(pauses.n_long_steps, 0);
    EXPECT_EQ(pauses.n_gaps, kPauses);
    EXPECT_EQ(process.stdout_text, run(command).out);
}

TEST(Suspend, ABenchmarkDoesNotCountTheTime) {
    const ScratchDir dir;
    const std::string trace = dir.file("trace.json");
    const auto begin = std::chrono::steady_clock::now();
    Process process({kBench, "--shape", kShape, "--backend", "cpu", "-p", "0", "-n", "800", "-r", "1", "-o", "json",
                     "--trace", trace});
    wait_for_work(process.id());  // past loading
    suspend_and_go_on(process);
    ASSERT_EQ(process.wait(), 0) << process.stderr_text;
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;
    const Pauses pauses = pauses_in(trace);
    EXPECT_EQ(pauses.n_long_steps, 0);
    ASSERT_GE(pauses.n_gaps, 1) << "the benchmark was over too soon, or had not begun";
    const double told = nlohmann::json::parse(process.stdout_text)[0]["avg_ns"].get<double>() / 1e9;
    EXPECT_LT(told, whole.count() - pauses.n_gaps * std::chrono::duration<double>(kPause).count());
}

TEST(Suspend, WhereItIsIgnoredItStaysSo) {
    std::signal(SIGTSTP, SIG_IGN);  // children inherit it
    Process process({kRun, "-p", "Hi", "--temp", "0", "-n", "400"});
    std::signal(SIGTSTP, SIG_DFL);
    process.wait_for_output(1);
    process.signal(SIGTSTP);
    EXPECT_EQ(process.wait(), 0);
}

}  // namespace
}  // namespace lfm::test
