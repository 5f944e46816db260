// Every option of every program that names a file to write: links, pipes, full disks, files in use.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <sys/stat.h>

#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kPrograms = LFM_BINARY_DIR "/bin/";
constexpr const char* kShape = "lfm2moe,n_layer=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=32,n_vocab=300:Q4_0";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A command whose last word is the output.
struct Output {
    std::string name;
    Words command;
    bool reads_model = true;
};

class Outputs : public testing::Test {
protected:
    void SetUp() override {
        const Result made = run({kPrograms + "lfm-eval", "make", "--shape", kShape, "-o", model_});
        ASSERT_EQ(made.code, 0) << made.err;
        std::ofstream(dir_.file("text")) << "a text of some words";
    }

    std::vector<Output> outputs() const {
        const std::string eval = kPrograms + "lfm-eval", text = dir_.file("text"), other = dir_.file("other");
        return {
            {"make -o", {eval, "make", "--shape", kShape, "-o"}, false},
            {"logits -o", {eval, "logits", "-m", model_, "--tokens", "1,2", "-o"}},
            {"logits --routes-out", {eval, "logits", "-m", model_, "--tokens", "1,2", "-o", other, "--routes-out"}},
            {"logits --trace", {eval, "logits", "-m", model_, "--tokens", "1,2", "-o", other, "--trace"}},
            {"perplexity --trace", {eval, "perplexity", "-m", model_, "-f", text, "--trace"}},
            {"routing -o", {eval, "routing", "-m", model_, "-f", text, "-o"}},
            {"routing --trace", {eval, "routing", "-m", model_, "-f", text, "-o", other, "--trace"}},
            {"run --trace", {kPrograms + "lfm-run", "-m", model_, "-p", "Hi", "-n", "2", "--trace"}},
            {"bench --trace", {kPrograms + "lfm-bench", "-m", model_, "-p", "2", "-n", "1", "-r", "1", "--trace"}},
        };
    }
    static Result run_to(const Output& output, const std::string& path) {
        Words command = output.command;
        command.push_back(path);
        return run(command);
    }
    std::size_t n_files() const {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir_.file("")), fs::directory_iterator()));
    }

    ScratchDir dir_;
    std::string model_ = dir_.file("model.gguf");
};

TEST_F(Outputs, GoThroughLinksAndPipesAsTheyAre) {
    ASSERT_EQ(::mkfifo(dir_.file("pipe").c_str(), 0600), 0);
    for (const Output& output : outputs()) {
        SCOPED_TRACE(output.name);
        fs::create_symlink("target", dir_.file("link"));
        const Result through = run_to(output, dir_.file("link"));
        EXPECT_EQ(through.code, 0) << through.err;
        EXPECT_TRUE(fs::is_symlink(dir_.file("link")));
        EXPECT_FALSE(read_file(dir_.file("target")).empty());
        std::string seen;
        std::thread reader([&] { seen = read_file(dir_.file("pipe")); });
        const Result piped = run_to(output, dir_.file("pipe"));
        if (piped.code != 0) std::ofstream(dir_.file("pipe"));  // it may not have opened the pipe: unblock the reader
        reader.join();
        EXPECT_EQ(piped.code, 0) << piped.err;
        EXPECT_TRUE(fs::is_fifo(dir_.file("pipe")));
        EXPECT_FALSE(seen.empty());
        const bool repeatable = output.name == "make -o" || output.name == "logits -o";
        EXPECT_TRUE(!repeatable || seen == read_file(dir_.file("target")));
        const Result nowhere = run_to(output, "/dev/null");
        EXPECT_EQ(nowhere.code, 0) << nowhere.err;
        EXPECT_TRUE(fs::is_character_file("/dev/null"));
        fs::remove(dir_.file("link")), fs::remove(dir_.file("target")), fs::remove(dir_.file("other"));
    }
}

TEST_F(Outputs, ADashIsStandardOutput) {
    const std::string make = kPrograms + "lfm-eval make --shape " + kShape + " -o ";
    const Result piped = run({"/bin/sh", "-c", make + "-"});
    EXPECT_EQ(piped.code, 0) << piped.err;
    EXPECT_EQ(piped.out, read_file(model_));
    const Result filed = run({"/bin/sh", "-c", make + "/dev/stdout > " + dir_.file("filed")});
    EXPECT_EQ(filed.code, 0) << filed.err;
    EXPECT_EQ(read_file(dir_.file("filed")), read_file(model_));
    EXPECT_FALSE(fs::exists("-"));
}

TEST_F(Outputs, ThatCannotBeAreRefusedBeforeTheWork) {
    fs::create_directory(dir_.file("folder"));
    const std::size_t n_before = n_files();
    std::vector<Output> all = outputs();
    all.push_back({"probe -o", {kPrograms + "lfm-probe", "-o"}, false});
    for (const Output& output : all) {
        for (const auto& [path, said] : {std::pair<std::string, const char*>{dir_.file("none/x"), "No such file"},
                                         {dir_.file("folder"), "directory"},
                                         {dir_.file("text/x"), "Not a directory"},
                                         {"/dev/full", "No space left"}}) {
            SCOPED_TRACE(output.name + " " + path);
            const auto begin = std::chrono::steady_clock::now();
            const Result result = run_to(output, path);
            EXPECT_EQ(result.code, 1);
            EXPECT_EQ(result.out, "");
            EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
            EXPECT_NE(result.err.find(path + ": "), std::string::npos) << result.err;
            EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
            EXPECT_LT(std::chrono::steady_clock::now() - begin, 4 * kStopsWithin);
        }
        EXPECT_TRUE(fs::is_character_file("/dev/full"));
    }
    EXPECT_EQ(n_files(), n_before);
}

TEST_F(Outputs, NeverReplaceTheModelInUse) {
    fs::create_symlink("model.gguf", dir_.file("link"));
    fs::create_hard_link(model_, dir_.file("hard"));
    const std::string before = read_file(model_);
    for (const Output& output : outputs()) {
        if (!output.reads_model) continue;
        for (const char* name : {"model.gguf", "link", "hard"}) {
            SCOPED_TRACE(output.name + " " + name);
            const Result result = run_to(output, dir_.file(name));
            EXPECT_EQ(result.code, 2);
            EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
            EXPECT_EQ(result.out, "");
        }
    }
    EXPECT_EQ(read_file(model_), before);
    const std::string text = dir_.file("text"), eval = kPrograms + "lfm-eval";
    EXPECT_EQ(run({eval, "routing", "-m", model_, "-f", text, "-o", text}).code, 2);
    EXPECT_EQ(run({eval, "routing", "-m", model_, "-f", text, "-o", dir_.file("x"), "--trace", dir_.file("x")}).code,
              2);
    EXPECT_EQ(run({kPrograms + "lfm-run", "-m", model_, "-p", "Hi", "-f", text, "--trace", text}).code, 2);
    EXPECT_EQ(read_file(text), "a text of some words");
}

TEST_F(Outputs, KeepTheModeOfTheOldFile) {
    for (const Output& output : outputs()) {
        std::ofstream(dir_.file("x")) << "old";
        fs::permissions(dir_.file("x"), fs::perms(0604));
        EXPECT_EQ(run_to(output, dir_.file("x")).code, 0) << output.name;
        EXPECT_NE(read_file(dir_.file("x")), "old") << output.name;
        EXPECT_EQ(static_cast<unsigned>(fs::status(dir_.file("x")).permissions()), 0604u) << output.name;
    }
}

TEST_F(Outputs, AFileThatGrowsTooLargeIsAnErrorNotASignal) {
    const Result result = run(
        {"/bin/sh", "-c", "ulimit -f 8; " + kPrograms + "lfm-eval make --shape " + kShape + " -o " + dir_.file("x")});
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(dir_.file("x")));
}

TEST_F(Outputs, StandardOutputThatIsFullIsSaid) {
    const std::string eval = kPrograms + "lfm-eval";
    for (const std::string& command :
         {kPrograms + "lfm-run --help", kPrograms + "lfm-run -m " + model_ + " -p Hi -n 1 -q",
          kPrograms + "lfm-plan --profiles", kPrograms + "lfm-plan --help",
          kPrograms + "lfm-plan --shape lfm2-350m:Q4_0 --profile ddr5-5600 -o json", kPrograms + "lfm-bench --version",
          kPrograms + "lfm-bench -m " + model_ + " -p 1 -n 1 -r 1", kPrograms + "lfm-probe --help",
          kPrograms + "lfm-probe --list", eval + " --help", eval + " --version", eval + " make --help",
          eval + " tokenize -m " + model_ + " </dev/null",
          eval + " perplexity -m " + model_ + " -f " + dir_.file("text"),
          "echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | " + eval + " template -m " + model_}) {
        const Result result = run({"/bin/sh", "-c", command + " >/dev/full"});
        EXPECT_EQ(result.code, 1) << command;
        EXPECT_NE(result.err.find("standard output: No space left"), std::string::npos) << command << result.err;
    }
}

}  // namespace
}  // namespace lfm::test
