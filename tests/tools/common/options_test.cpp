// Options and values that programs do not accept: one line that names them and what would be right, exit code 2.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"
#include "tools/common/nearest_name.h"
#include "tools/common/option_values.h"
#include "tools/run/options.h"

namespace lfm::test {
namespace {

using Words = std::vector<std::string>;
using namespace lfm::tools;

const std::string kPrograms = LFM_BINARY_DIR "/bin/";
constexpr const char* kShape = "lfm2moe,n_layer=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=32,n_vocab=300:Q4_0";
constexpr const char* kDense = "lfm2,n_layer=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_vocab=300:Q4_0";
constexpr const char* kCard = "rtx-4060-ti-16gb+ddr5-5600";

std::string message(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& error) {
        return (error.code() == ErrorCode::kUsage ? "" : "not usage: ") + std::string(error.what());
    }
    return "fine";
}

Result run_words(Words command, const Words& more = {}) {
    command.front() = kPrograms + command.front();
    command.insert(command.end(), more.begin(), more.end());
    return test::run(command);
}

void expect_refused(const Result& result, const std::string& said) {
    EXPECT_EQ(result.code, 2);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
}

po::variables_map parse(const Words& words) {
    po::options_description options;
    const auto text = [] { return po::value<std::string>(); };
    options.add_options()("help,h", "")("predict,n", text(), "")("file,f", text(), "")("cache-type-k", text(), "");
    options.add_options()("sweep", po::value<std::string>()->implicit_value(""), "")("verbose,v", "");
    options.add_options()("stop", po::value<std::vector<std::string>>(), "");
    return parse_options(words, options, {{"-ctk", "cache-type-k"}});
}

TEST(Words, WhatFollowsAnOptionIsItsValue) {
    EXPECT_EQ(*find_text(parse({"-n", "-1"}), "predict"), "-1");
    EXPECT_EQ(*find_text(parse({"-n5"}), "predict"), "5");
    EXPECT_EQ(*find_text(parse({"-n-5"}), "predict"), "-5");
    EXPECT_EQ(*find_text(parse({"-n=5"}), "predict"), "5");
    EXPECT_EQ(*find_text(parse({"--predict=5"}), "predict"), "5");
    EXPECT_EQ(*find_text(parse({"-ctk=f16"}), "cache-type-k"), "f16");
    EXPECT_EQ(*find_text(parse({"-f", "- a list"}), "file"), "- a list");
    EXPECT_EQ(*find_text(parse({"-f", ""}), "file"), "");
    EXPECT_EQ(*find_text(parse({"-f", "-"}), "file"), "-");
    EXPECT_EQ(*find_text(parse({"--sweep", "1GiB"}), "sweep"), "1GiB");
    EXPECT_EQ(*find_text(parse({"--sweep", "-n", "1"}), "sweep"), "");
    EXPECT_EQ(parse({"--stop", "a", "--stop", "b"})["stop"].as<Words>(), (Words{"a", "b"}));
    EXPECT_EQ(parse({"-v", "-v"}).count("verbose"), 1u);
    EXPECT_EQ(message([] { parse({"-n"}); }), "-n: expected a value, found nothing");
    EXPECT_EQ(message([] { parse({"-n", "--file", "x"}); }), "-n: expected a value, found the option --file");
    EXPECT_EQ(message([] { parse({"-n", "1", "--predict", "2"}); }), "--predict: expected once, found twice");
    EXPECT_EQ(message([] { parse({"--verbose=1"}); }), "--verbose: expected no value, found 1");
}

TEST(Words, UnknownOnesAreNamedWithTheNearest) {
    EXPECT_EQ(message([] {
                  parse({"--predcit", "5"});
              }),
              "--predcit: unknown option; did you mean --predict? see --help");
    EXPECT_EQ(message([] { parse({"--bogus"}); }), "--bogus: unknown option; see --help");
    EXPECT_EQ(message([] { parse({"-ctj", "f16"}); }), "-ctj: unknown option; did you mean -ctk? see --help");
    for (const char* word : {"-fa", "-vn", "-hf", "-ngl", "-x", "word", "-", "--", "-5", "", "a\nb"}) {
        const std::string text = message([&] { parse({word, "9"}); });
        EXPECT_NE(text, "fine") << word;
        EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
}

TEST(Words, LlamaCppsOptionsSayWhatReplacesThem) {
    for (const auto& [words, said] : std::vector<std::pair<Words, std::string>>{
             {{"-ngl", "99"}, "-ngl: an option of llama.cpp, unknown here; use --vram-budget"},
             {{"--n-gpu-layers", "99"}, "use --vram-budget"},
             {{"--n-cpu-moe=3"}, "use --vram-budget"},
             {{"-ot", "exps=CPU"}, "use --vram-budget"},
             {{"-hf", "x/y"}, "-hf: an option of llama.cpp, unknown here; use --model FILE"},
             {{"-fa"}, "-fa: an option of llama.cpp"},
             {{"-fa", "on"}, "-fa: an option of llama.cpp"},
             {{"-ub", "512"}, "use --batch-size"},
             {{"-mg", "1"}, "use --device"},
             {{"-cnv"}, "it is a chat"},
             {{"-no-cnv"}, "use --no-chat"},
             {{"--mlock"}, "mapped"},
             {{"--jinja"}, "use --chat-template"},
             {{"-r", "User:"}, "use --stop"}}) {
        SCOPED_TRACE(words[0]);
        expect_refused(run_words({"lfm-run"}, words), said);
    }
    // In each program, also where nothing replaces it.
    for (const Words& program : {Words{"lfm-run"},
                                 {"lfm-bench"},
                                 {"lfm-plan"},
                                 {"lfm-probe"},
                                 {"lfm-eval", "logits"},
                                 {"lfm-eval", "tokenize"},
                                 {"lfm-eval", "make"}})
        for (const char* option : {"-ngl", "-fa", "-hf", "--bogus"})
            expect_refused(run_words(program, {option, "x"}), std::string(option) + ": ");
    expect_refused(run_words({"lfm-run", "model.gguf"}), "-m names the model");
    expect_refused(run_words({"lfm-eval", "perplexty"}), "did you mean perplexity?");
    expect_refused(run_words({"lfm-eval"}), "expected logits");
}

TEST(Words, TheNearestNameIsNear) {
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("abc", "acb"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    const Words known{"--temp", "--top-k", "--top-p"};
    EXPECT_EQ(nearest_name("--tmep", known), "--temp");
    EXPECT_EQ(nearest_name("-temp", known), "--temp");
    EXPECT_FALSE(nearest_name("--xyz", known));
    EXPECT_FALSE(nearest_name(std::string(100'000, 'x'), known));
}

TEST(Numbers, AreReadWholeAndWithinTheirBounds) {
    EXPECT_EQ(parse_integer("-1", "--x", {-1, 5}), -1);
    EXPECT_EQ(parse_integer("5", "--x", {-1, 5}), 5);
    for (const char* text :
         {"", " 1", "1 ", "+1", "1x", "0x1", "1.0", "1e0", "6", "-2", "99999999999999999999", "nan", "1,2"})
        EXPECT_EQ(
            message([&] {
                parse_integer(text, "--x", {-1, 5});
            }),
            "--x: expected a whole number from -1 to 5, found " + (*text != '\0' ? std::string(text) : "nothing"));
    EXPECT_EQ(parse_number("0.25", "--x", {0, 1}), 0.25);
    EXPECT_EQ(parse_number(".5", "--x", {0, 1}), 0.5);
    for (const char* text : {"", "nan", "inf", "-inf", "1e400", "-0.1", "1.01", "0.5x", " 0.5", "0x1p-1"})
        EXPECT_EQ(message([&] {
                      parse_number(text, "--x", {0, 1});
                  }).find("--x: expected a number from 0 to 1, found "),
                  0u)
            << text;
    EXPECT_EQ(parse_integers("1,2,3", "--x", {0, 9}), (std::vector<std::int64_t>{1, 2, 3}));
    for (const char* text : {"", ",", "1,", ",1", "1,,2", "1;2", "10", "1,-2"})
        EXPECT_NE(message([&] { parse_integers(text, "--x", {0, 9}); }).find("from 0 to 9"), std::string::npos) << text;
}

TEST(Numbers, ASizeHasAUnit) {
    EXPECT_EQ(parse_budget("8gib", "--x", {}), Bytes{std::uint64_t{8} << 30});
    EXPECT_EQ(parse_budget("8589934592B", "--x", {}), Bytes{std::uint64_t{8} << 30});
    EXPECT_EQ(parse_budget("0", "--x", {}), Bytes{0});
    EXPECT_EQ(parse_budget("50%", "--x", {200}), Bytes{100});
    EXPECT_EQ(message([] { parse_budget("8", "--x", {}); }), "--x: 8 what? 8GiB");
    EXPECT_EQ(message([] { parse_budget("1.5", "--x", {}); }), "--x: 1.5 what? 1.5GiB");
    EXPECT_EQ(message([] { parse_budget("16384", "--x", {}); }), "--x: 16384 what? 16384MiB");
    EXPECT_EQ(message([] { parse_budget("8589934592", "--x", {}); }), "--x: 8589934592 what? 8589934592B");
    EXPECT_EQ(message([] { parse_sizes("1GiB,8", "--x"); }), "--x: 8 what? 8GiB");
    for (const char* text : {"", "-8GiB", "lots", "101%", "-1%", "nan%", "%", "1e30GiB"})
        EXPECT_NE(message([&] { parse_budget(text, "--x", {}); }).find("--x: expected a size (8GiB)"),
                  std::string::npos)
            << text;
}

/// Each option that takes a number, and how to ask for it.
struct NumberOption {
    Words command;
    std::string option;
};

TEST(Numbers, OfEveryOptionOfEveryProgramAreChecked) {
    const Words run{"lfm-run", "-p", "Hi"}, bench{"lfm-bench", "--shape", kShape};
    const Words plan{"lfm-plan", "--shape", kShape, "--profile", kCard};
    const Words logits{"lfm-eval", "logits", "-m", "none", "--tokens", "1", "-o", "/dev/null"};
    const Words perplexity{"lfm-eval", "perplexity", "-m", "none", "-f", "none"};
    const Words routing{"lfm-eval", "routing", "-m", "none", "-f", "none", "-o", "/dev/null"};
    std::vector<NumberOption> options;
    for (const Words& command : {run, bench, logits, perplexity, routing})
        for (const char* option : {"--threads", "--batch-size", "--device", "--vram-budget", "--ram-budget"})
            options.push_back({command, option});
    for (const char* option : {"--predict", "--ctx-size", "--seed", "--temp", "--top-k", "--top-p", "--min-p",
                               "--repeat-penalty", "--repeat-last-n", "--skew", "--locality"})
        options.push_back({run, option});
    for (const char* option : {"--n-prompt", "--n-gen", "--n-depth", "--repetitions", "--ctx-size"})
        options.push_back({bench, option});
    for (const char* option : {"--device", "--ctx-size", "--batch-size", "--depth", "--skew", "--locality",
                               "--vram-budget", "--ram-budget", "--sweep"})
        options.push_back({plan, option});
    options.push_back({perplexity, "--ctx-size"});
    options.push_back({routing, "--ctx-size"});
    options.push_back({{"lfm-eval", "logits", "-m", "none", "-o", "/dev/null"}, "--tokens"});
    options.push_back({{"lfm-eval", "make", "--shape", kShape, "-o", "/dev/null"}, "--seed"});
    options.push_back({{"lfm-probe"}, "--threads"});
    options.push_back({{"lfm-probe", "--backend", "cuda"}, "--device"});
    for (const NumberOption& option : options)
        for (const char* value : {"-3", "99999999999999999999", "3x"}) {
            SCOPED_TRACE(option.command[0] + " " + option.option + " " + value);
            const Result result = run_words(option.command, {option.option, value});
            expect_refused(result, option.option + ": expected ");
            expect_refused(result, std::string("found ") + value);
        }
    for (const NumberOption& option : options) {
        SCOPED_TRACE(option.command[0] + " " + option.option);
        if (option.option == "--sweep") continue;  // an empty value asks for its own steps
        expect_refused(run_words(option.command, {option.option, ""}), option.option + ": expected ");
        expect_refused(run_words(option.command, {option.option, "nan"}), option.option + ": expected ");
    }
}

TEST(Combinations, ThatWouldIgnoreAnOptionAreRefused) {
    const ScratchDir dir;
    const std::string model = dir.file("model.gguf"), dense = dir.file("dense.gguf"), text = dir.file("text");
    ASSERT_EQ(run_words({"lfm-eval", "make", "--shape", kShape, "-o", model}).code, 0);
    ASSERT_EQ(run_words({"lfm-eval", "make", "--shape", kDense, "-o", dense}).code, 0);
    std::ofstream(text) << "some text";
    const Words run{"lfm-run", "-m", model, "-p", "Hi", "-n", "1"}, shape{"lfm-bench", "--shape", kShape, "-r", "1"};
    const Words plan{"lfm-plan", "-m", model, "--profile", kCard},
        perplexity{"lfm-eval", "perplexity", "-m", model, "-f", text};
    const Words roofline{"lfm-bench", "--roofline"}, list{"lfm-probe", "--list"};
    const std::vector<std::pair<Words, Words>> wrong{
        {plan, {"--sweep", "-o", "json"}},
        {plan, {"--sweep", "1GiB", "--vram-budget", "8GiB"}},
        {plan, {"--routing", text, "--skew", "1"}},
        {plan, {"--routing", text, "--locality", "0.5"}},
        {{"lfm-plan", "-m", dense, "--profile", kCard}, {"--skew", "1"}},
        {{"lfm-plan", "-m", dense, "--profile", "ddr5-5600"}, {"--sweep"}},
        {{"lfm-plan", "-m", dense, "--profile", "ddr5-5600"}, {"--device", "0"}},
        {run, {"--exact", "--kernels", "portable"}},
        {run, {"--exact", "-ctk", "q8_0"}},
        {run, {"--exact", "--vram-budget", "8GiB"}},
        {run, {"--kernels", "portable", "--device", "0"}},
        {run, {"--backend", "cpu", "--vram-budget", "8GiB"}},
        {run, {"--backend", "cpu", "--vram-budget", "80%"}},
        {run, {"--backend", "cpu", "--device", "0"}},
        {run, {"--backend", "cpu", "--profile", kCard}},
        {run, {"--backend", "cpu", "--skew", "1"}},
        {run, {"--quiet", "--verbose"}},
        {run, {"--no-chat", "--system-prompt", "x"}},
        {run, {"--on-full", "drop-oldest", "-p", "x"}},
        {run, {"--output-format", "json", "--color", "always"}},
        {perplexity, {"--exact", "--kernels", "portable"}},
        {perplexity, {"--backend", "cpu", "--vram-budget", "8GiB"}},
        {perplexity, {"--backend", "cpu", "--profile", kCard}},
        {shape, {"--exact", "--kernels", "portable"}},
        {shape, {"--backend", "cpu", "--vram-budget", "8GiB"}},
        {shape, {"--routing", "router", "--routing-trace", "uniform"}},
        {shape, {"-c", "10"}},
        {shape, {"--backend", "sim", "--profile", kCard, "--vram-budget", "8GiB", "-t", "2"}},
        {{"lfm-bench", "-m", dense}, {"--routing-trace", "uniform"}},
        {{"lfm-bench", "-m", dense}, {"--routing", "uniform"}},
        {list, {"-o", "x"}},
        {list, {"--full"}},
        {list, {"-t", "1"}},
        {{"lfm-probe"}, {"--backend", "cpu"}},
        {{"lfm-probe"}, {"--quick", "--full"}},
    };
    for (const auto& [command, more] : wrong) {
        SCOPED_TRACE(command[0] + " " + more[0]);
        expect_refused(run_words(command, more), "expected ");
    }
    for (const char* option : {"-p", "-n", "-d", "-c", "-b"})
        expect_refused(run_words(roofline, {option, "4"}), "--roofline");
    for (const char* option : {"--trace", "--profile", "--routing", "--vram-budget", "--ram-budget"})
        expect_refused(run_words(roofline, {option, "1GiB"}), "--roofline");
}

TEST(Combinations, AMissingProfileIsSaidAlsoWhereNoDeviceIs) {
    for (const Words& command : {Words{"lfm-run", "-p", "Hi", "-n", "1"},
                                 {"lfm-run", "-p", "Hi", "-n", "1", "--vram-budget", "0"},
                                 {"lfm-bench", "--shape", kShape, "-p", "1", "-n", "0", "-r", "1"}}) {
        const Result missing = run_words(command, {"--profile", "/nowhere/x.json"});
        EXPECT_EQ(missing.code, 1) << missing.err;
        EXPECT_NE(missing.err.find("/nowhere/x.json"), std::string::npos) << missing.err;
        expect_refused(run_words(command, {"--profile", "rtx-0000"}), "rtx-0000");
    }
}

TEST(Combinations, ASweepIsHonouredInAPage) {
    const Words plan{"lfm-plan", "--shape", "lfm2-8b-a1b:Q4_0", "--profile", kCard, "-o", "html"};
    const Result whole = run_words(plan), swept = run_words(plan, {"--sweep", "1GiB,3GiB", "--vram-budget", "2GiB"});
    EXPECT_EQ(swept.code, 0) << swept.err;
    EXPECT_NE(swept.out, whole.out);
    EXPECT_NE(swept.out.find("--vram-budget 2GiB"), std::string::npos);
}

TEST(Combinations, APipeJoinsThePrompt) {
    const auto prompt_tokens = [](const Words& more, const std::string& input) {
        Words command{kPrograms + "lfm-run", "--no-chat", "-n", "0", "--output-format", "json", "-q"};
        command.insert(command.end(), more.begin(), more.end());
        const Result result = test::run(command, input);
        EXPECT_EQ(result.code, 0) << result.err;
        const std::size_t at = result.out.find("\"prompt\":");
        return at == std::string::npos ? -1 : std::atoi(result.out.c_str() + at + 9);
    };
    const int joined = prompt_tokens({"-p", "Once upon a time\n\nthere was a fox"}, "");
    EXPECT_EQ(prompt_tokens({"-p", "Once upon a time"}, "there was a fox\n"), joined);
    EXPECT_LT(prompt_tokens({"-p", "Once upon a time"}, ""), joined);
    const ScratchDir dir;
    std::ofstream(dir.file("fox")) << "there was a fox\n";
    EXPECT_EQ(prompt_tokens({"-p", "Once upon a time", "-f", dir.file("fox")}, ""), joined);
    EXPECT_GT(prompt_tokens({"-p", "Once upon a time", "-f", dir.file("fox")}, "and a hen"), joined);
}

TEST(Combinations, JsonWithoutReasoningHasNone) {
    const Result hidden = test::run(
        {kPrograms + "lfm-run", "-p", "Hi", "-n", "2", "--output-format", "json", "--reasoning", "hide", "-q"});
    EXPECT_EQ(hidden.code, 0) << hidden.err;
    EXPECT_NE(hidden.out.find("\"reasoning\":\"\""), std::string::npos) << hidden.out;
}

}  // namespace
}  // namespace lfm::test
