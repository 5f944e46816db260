// lfm-bench as a user calls it.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/device_kinds.h"
#include "tests/tools/least_budget.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

const std::string kBench = LFM_BINARY_DIR "/bin/lfm-bench";
const std::string kEval = LFM_BINARY_DIR "/bin/lfm-eval";
constexpr const char* kSmall = "lfm2moe,n_layer=3,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_vocab=600:Q4_0";
/// Large enough that a device pays and that its experts can be split.
constexpr const char* kSplit =
    "lfm2moe,n_layer=6,n_embd=512,n_head=8,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,n_expert_used=4,n_vocab=2000:"
    "Q4_0";
constexpr const char* kFlagship = "lfm2-24b-a2b:Q4_K_M";
constexpr const char* kProfile = LFM_SOURCE_DIR "/profiles/gpu/rtx-4060-ti-16gb.json";

using Words = std::vector<std::string>;

Words command(Words options) {
    options.insert(options.begin(), kBench);
    return options;
}

Result bench(Words options, const Words& more = {}) {
    options.insert(options.end(), more.begin(), more.end());
    return run(command(options));
}

nlohmann::json rows_of(const Words& options, const Words& more = {}) {
    Words all = options;
    all.insert(all.end(), {"-o", "json"});
    const Result result = bench(all, more);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
}

Words on_sim(const std::string& shape, const std::string& budget, const Words& more = {}) {
    Words words{"--shape", shape, "--backend", "sim", "--profile", kProfile, "--vram-budget", budget};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

double number(const nlohmann::json& row, const char* key) { return row[key].get<double>(); }

TEST(LfmBench, CountsParametersInTheirUnit) {
    const Result result = run(command({"--shape", kSmall, "-p", "4", "-n", "0", "-r", "1", "--no-warmup"}));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out.find("0.00 B"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find(" K |"), std::string::npos) << result.out;
}

TEST(LfmBench, QuietSaysNothingOnStderr) {
    const std::vector<std::string> loud{"--shape", kSmall, "-p", "4", "-n", "0", "-r", "1", "--vram-budget", "1GiB"};
    std::vector<std::string> quiet = loud;
    quiet.push_back("-q");
    EXPECT_EQ(run(command(quiet)).err, "");
}

TEST(LfmBench, SequencesShareSteps) {
    const Words options{"--shape", kSmall, "-p", "8", "-n", "4", "-r", "2", "-np", "1,3", "-d", "2"};
    const auto rows = rows_of(options, {"--backend", "cpu"});
    ASSERT_EQ(rows.size(), 4u) << "of each number the prompts, and the tokens after them";
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const double n_parallel = i < 2 ? 1 : 3, n = i % 2 == 0 ? 8 : 4;
        EXPECT_EQ(number(rows[i], "n_parallel"), n_parallel);
        EXPECT_EQ(number(rows[i], "n_prompt"), i % 2 == 0 ? 8 : 0);
        EXPECT_EQ(number(rows[i], "n_gen"), i % 2 == 0 ? 0 : 4);
        EXPECT_EQ(number(rows[i], "n_depth"), i % 2 == 0 ? 2 : 10);
        ASSERT_EQ(rows[i]["samples_ns"].size(), 2u);
        const double seconds = rows[i]["samples_ns"][0].get<double>() * 1e-9;
        EXPECT_NEAR(rows[i]["samples_ts"][0].get<double>(), n * n_parallel / seconds, 1) << "the total of all";
    }
    const Result table = bench(options, {"--backend", "cpu"});
    for (const char* column : {"PP |", "TG |", " B |", "N_KV |", "T_PP s |", "S_PP t/s |", "T_TG s |", "S_TG t/s |"})
        EXPECT_NE(table.out.find(column), std::string::npos) << column;
    EXPECT_NE(table.out.find("|    3 |      42 |"), std::string::npos) << "three times 2 + 8 + 4\n" << table.out;
    // On a simulated device, whose time they share.
    Words shared{"--shape", kSplit, "--backend", "sim", "--profile", kProfile, "-p",
                 "8",       "-n",   "4",         "-r",  "1",         "-np",    "1,4"};
    shared.insert(shared.end(), {"--vram-budget", least_budget_and(command(shared), 9)});
    const auto simulated = rows_of(shared);
    ASSERT_EQ(simulated.size(), 4u);
    EXPECT_GT(number(simulated[3], "avg_ts"), 1.5 * number(simulated[1], "avg_ts"));
}

TEST(LfmBench, SequencesThatCannotShareStepsAreRefused) {
    const Words options{"--shape", kSmall, "-p", "8", "-n", "4", "-r", "1"};
    for (const Words& wrong :
         {Words{"-np", "0"}, Words{"-np", "-1"}, Words{"-np", "1025"}, Words{"-np", "x"}, Words{"-np", "8", "-b", "4"}, Words{"-np", "2", "--roofline"}, Words{"-np", "2", "-c", "8"}}) {
        const Result result = bench(options, wrong);
        EXPECT_EQ(result.code, 2) << wrong[1] << result.err;
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
    EXPECT_EQ(bench(options, {"-np", "1024", "-c", "1000000", "-b", "2048"}).code, 3) << "more memory than there is";
}

TEST(LfmBench, PrintsLlamaBenchsKeys) {
    const auto rows = rows_of({"--shape", kSmall, "-p", "8", "-n", "4", "-r", "2", "--backend", "cpu"});
    ASSERT_EQ(rows.size(), 2u);
    for (const char* key : {"gpu_info",
                            "backends",
                            "model_filename",
                            "model_type",
                            "model_size",
                            "model_n_params",
                            "n_batch",
                            "n_threads",
                            "type_k",
                            "type_v",
                            "n_gpu_layers",
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
    EXPECT_GT(number(rows[1], "avg_ts"), 0);
    EXPECT_EQ(rows[0]["backend"], "CPU");
    EXPECT_EQ(rows[0]["device"], "");
    EXPECT_EQ(rows[0]["time"], "measured");
    EXPECT_EQ(rows[0]["vram_peak"], 0);
    EXPECT_TRUE(rows[0]["hit_rate"].is_null());
}

TEST(LfmBench, EveryFormatOnAShape) {
    const Words common{"--shape", kSmall, "-p", "4,5", "-n", "2", "-d", "0,3", "-r", "1", "-o"};
    EXPECT_EQ(bench(common, {"json"}).code, 0);
    const Result csv = bench(common, {"csv"});
    EXPECT_EQ(std::ranges::count(csv.out, '\n'), 7) << csv.out;
    EXPECT_NE(bench(common, {"md"}).out.find("tg2 @ d3"), std::string::npos);
}

TEST(LfmBench, TheRooflineOfAModelsMatrices) {
    const std::string shape = "lfm2,n_layer=1,n_embd=1024,n_head=16,n_head_kv=8,n_ff=1024,n_vocab=600,attention=0:Q8_0";
    const auto rows = rows_of({"--roofline", "--shape", shape, "-r", "1", "--kernels", "portable"});
    ASSERT_EQ(rows.size(), 3u) << rows;  // attention and FFN: one matrix, three batches
    EXPECT_EQ(rows[0]["type"], "Q8_0");
    EXPECT_EQ(rows[0]["unit"], "GB/s");
    EXPECT_EQ(rows[2]["n_tokens"], 512);
    EXPECT_EQ(rows[2]["kernels"], "portable");
    EXPECT_EQ(number(rows[2], "limit"), 0) << "plain loops have no stream";
    EXPECT_GT(number(rows[0], "share"), 0);
    const Result small = bench({"--roofline", "--shape", kSmall});
    EXPECT_EQ(small.code, 2);
    EXPECT_NE(small.err.find("--roofline: expected a model with a matrix of a megabyte"), std::string::npos)
        << small.err;
}

TEST(LfmBench, ASimulatedDeviceTellsItsOwnTimeTheSameTwice) {
    ScratchDir dir;
    const std::string model = dir.file("made.gguf");
    ASSERT_EQ(run({kEval, "make", "--shape", kSplit, "-o", model}).code, 0);
    Words options{"-m", model, "--backend", "sim", "--profile", kProfile, "-p", "24",
                  "-n", "8",   "-d",        "0,5", "-b",        "16",     "-r", "2"};
    options.insert(options.end(), {"--vram-budget", least_budget_and(command(options), 9)});
    const auto rows = rows_of(options), again = rows_of(options);
    ASSERT_EQ(rows.size(), 4u);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto& row = rows[i];
        EXPECT_EQ(row["samples_ns"], again[i]["samples_ns"]) << row.dump();
        EXPECT_EQ(row["backend"], "sim");
        EXPECT_EQ(row["device"], "NVIDIA GeForce RTX 4060 Ti (simulated)");
        EXPECT_EQ(row["time"], "virtual");
        EXPECT_EQ(row["arithmetic"], "run");
        EXPECT_EQ(std::to_string(row["vram_budget"].get<std::int64_t>() >> 20) + "MiB", options.back());
        EXPECT_LE(row["vram_peak"], row["vram_budget"]);
        EXPECT_GT(number(row, "vram_peak"), 350 << 20);
        EXPECT_GT(number(row, "hit_rate"), 0);
        EXPECT_LT(number(row, "hit_rate"), 1);
        EXPECT_GT(number(row, "predicted_ts"), 0);
        // 5 MoE layers, 4 experts of 3 · 512 · 256 weights each, 18 bytes for 32.
        EXPECT_EQ(row["expert_bytes_per_token"], 5 * 4 * 3 * 512 * 256 / 32 * 18);
        EXPECT_LT(row["expert_bytes_per_token"], row["weight_bytes_per_token"]);
    }
}

/// The largest model on any machine: nothing is computed, and the times are near those that the plan predicts.
TEST(LfmBench, TimesOf24BAreNearThePlans) {
    // In the first of these some layers are at home on the host.
    for (const char* budget : {"700MiB", "3GiB", "8GiB"})
        for (const char* trace : {"uniform", "zipf:1.0,reuse:0.6"}) {
            SCOPED_TRACE(std::string(budget) + " " + trace);
            const auto rows =
                rows_of(on_sim(kFlagship, budget, {"-p", "512", "-n", "64", "-r", "2"}), {"--routing-trace", trace});
            ASSERT_EQ(rows.size(), 2u);
            for (const auto& row : rows) {
                EXPECT_EQ(row["arithmetic"], "skip");
                EXPECT_EQ(row["routing"], trace);
                EXPECT_NEAR(number(row, "avg_ts"), number(row, "predicted_ts"), 0.1 * number(row, "avg_ts"))
                    << row["n_gen"];
            }
        }
}

TEST(LfmBench, SkewAndReuseMakeMoreHits) {
    const auto hits = [](const std::string& trace) {
        return number(
            rows_of(on_sim(kFlagship, "6GiB", {"-p", "0", "-n", "100", "-r", "1", "--routing-trace", trace}))[0],
            "hit_rate");
    };
    const double uniform = hits("uniform");
    EXPECT_GT(hits("zipf:1.0"), uniform + 0.2);
    EXPECT_GT(hits("zipf:1.0,reuse:0.6"), uniform + 0.2);
}

TEST(LfmBench, ReplaysARecordedRouting) {
    ScratchDir dir;
    const std::string model = dir.file("made.gguf"), trace = dir.file("trace");
    ASSERT_EQ(run({kEval, "make", "--shape", kSplit, "-o", model}).code, 0);
    std::ofstream text(dir.file("text"));
    for (int i = 0; i < 10; ++i) text << "words of a text, " << i * 37 % 100 << " of them; ";
    text.close();
    ASSERT_EQ(
        run({kEval, "routing", "-m", model, "-f", dir.file("text"), "-o", dir.file("counts"), "--trace", trace}).code,
        0);
    const Words options = on_sim(kSplit, "450MiB", {"-p", "16", "-n", "8", "-r", "1", "--routing-trace", trace});
    EXPECT_EQ(rows_of(options)[1]["routing"], trace);
    const Result other = bench(on_sim(kSmall, "450MiB", {"--routing-trace", trace}));
    EXPECT_EQ(other.code, 1);
    EXPECT_NE(other.err.find(trace), std::string::npos) << other.err;
}

TEST(LfmBench, EveryFormatSaysThatTimesAreVirtual) {
    const Words options = on_sim(kSplit, "450MiB", {"-p", "4", "-n", "2", "-r", "1", "-o"});
    const std::string table = bench(options, {"md"}).out;
    EXPECT_NE(table.find("Times are virtual"), std::string::npos) << table;
    EXPECT_NE(table.find("nothing was computed"), std::string::npos) << table;
    const std::string csv = bench(options, {"csv"}).out;
    EXPECT_NE(csv.find("\"virtual\",\"skip\""), std::string::npos) << csv;
    const std::string computed = bench(options, {"md", "--arithmetic", "run"}).out;
    EXPECT_NE(computed.find("Times are virtual"), std::string::npos) << computed;
    EXPECT_EQ(computed.find("nothing was computed"), std::string::npos) << computed;
}

TEST(LfmBench, TracesEveryStep) {
    ScratchDir dir;
    const std::string file = dir.file("trace.json");
    ASSERT_EQ(
        bench(on_sim(kFlagship, "8GiB", {"-p", "6", "-b", "4", "-n", "3", "-r", "1", "--no-warmup", "--trace", file}))
            .code,
        0);
    std::ifstream text(file);
    const auto trace = nlohmann::json::parse(text);
    std::vector<int> tokens;  // of each step
    for (const auto& event : trace["traceEvents"])
        if (event["name"] == "step") tokens.push_back(event["args"]["tokens"]);
    EXPECT_EQ(tokens, (std::vector<int>{4, 2, 1, 1, 1}));
    EXPECT_EQ(bench(on_sim(kSplit, "450MiB", {"-p", "4", "-n", "1", "--trace", dir.file("no/such")})).code, 1);
}

TEST(LfmBench, MeasuresOnVulkan) {
    if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
    Words options{"--shape", kSplit, "--backend", "vulkan", "--profile", kProfile, "-p", "8", "-n", "4", "-r", "1"};
    options.insert(options.end(), {"--vram-budget", least_budget_and(command(options), 9)});
    const auto rows = rows_of(options);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[1]["backend"], "Vulkan");
    EXPECT_NE(rows[1]["device"], "");
    EXPECT_EQ(rows[1]["time"], "measured");
    EXPECT_GT(number(rows[1], "vram_peak"), 0);
    EXPECT_LE(rows[1]["vram_peak"], rows[1]["vram_budget"]);
    EXPECT_GT(number(rows[1], "avg_ts"), 0);
}

/// The emulation runs the GPU backend, which remarks when it runs steps in a slower way, and why.
TEST(LfmBench, ADeviceSaysWhereItGoesASlowerWay) {
    if (const std::string why = emulated_gpu_absence<32>(); !why.empty()) GTEST_SKIP() << why;
    const Words words = command({"--shape", kSmall, "--backend", "emulated32", "--profile", kProfile, "--vram-budget",
                                 "1GiB", "-p", "0", "-n", "2", "-r", "1", "--no-warmup", "-o", "json"});
    const Result plain = run(words);
    ASSERT_EQ(plain.code, 0) << plain.err;
    const auto row = nlohmann::json::parse(plain.out)[0];
    EXPECT_EQ(row["device_remarks"].size(), 0u) << row["device_remarks"];
    EXPECT_EQ(plain.err, "");
    EXPECT_EQ(row["queue_limit"], 400);
    EXPECT_EQ(row["driver_queue"], 1000);

    Words refused{"/usr/bin/env", "LFM_EMULATION_MACHINE=no-graphs"};
    refused.insert(refused.end(), words.begin(), words.end());
    const Result slower = run(refused);
    ASSERT_EQ(slower.code, 0) << slower.err;
    const auto remarks = nlohmann::json::parse(slower.out)[0]["device_remarks"];
    ASSERT_GE(remarks.size(), 1u);
    EXPECT_NE(remarks[0].get<std::string>().find("without graphs"), std::string::npos) << remarks;
    EXPECT_NE(slower.err.find(remarks[0].get<std::string>()), std::string::npos) << slower.err;
}

TEST(LfmBench, WrongOptionsAreUsage) {
    const std::vector<Words> wrong{{"--shape", "lfm2:Q9"},
                                   {},
                                   {"--shape", kSmall, "-m", "x.gguf"},
                                   {"--shape", kSmall, "-p", "x"},
                                   {"--shape", kSmall, "-p", "1,,2"},
                                   {"--shape", kSmall, "-p", "1,"},
                                   {"--shape", kSmall, "-p", "0", "-n", "0"},
                                   {"--shape", kSmall, "-r", "0"},
                                   {"--shape", kSmall, "-o", "xml"},
                                   {"--shape", kSmall, "--backend", "gpu"},
                                   {"--shape", kSmall, "--backend", "sim"},
                                   {"--shape", kSmall, "--vram-budget", "much"},
                                   {"--shape", kSmall, "--adapt", "maybe"},
                                   {"--shape", kSmall, "--routing", "zipf"},
                                   {"--shape", kSmall, "--routing", "router", "--routing-trace", "uniform"},
                                   {"--shape", kSmall, "--routing-trace", "zipf:x"},
                                   {"--shape", kSmall, "--arithmetic", "skip"},
                                   on_sim(kSplit, "450MiB", {"--arithmetic", "none"}),
                                   on_sim(kSplit, "450MiB", {"--arithmetic", "skip", "--routing", "router"}),
                                   on_sim(kSplit, "0")};
    for (const Words& options : wrong) {
        const Result result = bench(options);
        EXPECT_EQ(result.code, 2) << testing::PrintToString(options) << result.err;
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
    EXPECT_EQ(bench({"-m", "/no/such/file"}).code, 4);
    if (!find_devices(BackendName::kCuda).empty()) return;
    const Result result = bench({"--shape", kSmall, "--backend", "cuda"});
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("cuda"), std::string::npos) << result.err;
}

TEST(LfmBench, BudgetsTooSmallExitWithThreeAndFigures) {
    const Result vram = bench(on_sim(kFlagship, "400MiB"));
    EXPECT_EQ(vram.code, 3);
    EXPECT_NE(vram.err.find("needs 5"), std::string::npos) << vram.err;
    EXPECT_NE(vram.err.find("there is 400 MiB"), std::string::npos) << vram.err;
    const Result ram = bench({"--shape", kSmall, "--backend", "cpu", "--ram-budget", "100KiB"});
    EXPECT_EQ(ram.code, 3) << ram.err;
    EXPECT_NE(ram.err.find("there is 100 KiB"), std::string::npos) << ram.err;
}

TEST(LfmBench, HelpFitsATerminal) {
    std::istringstream help(bench({"--help"}).out);
    for (std::string line; std::getline(help, line);) EXPECT_LE(line.size(), 80u) << line;
}

}  // namespace
}  // namespace lfm::test
