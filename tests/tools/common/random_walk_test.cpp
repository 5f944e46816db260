// Whatever the words: each program ends in time, with a documented exit code and one line that says why, and touches no
// file but the outputs that were named. LFM_WALK_SEED=N runs the one command that a failure names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "planner/model/shape.h"
#include "runtime/tensors/random_model_file.h"
#include "tests/tools/common/random_commands.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"
#include "tools/plan/commands.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kSeconds = 120;
constexpr bool kBoundedMemory = false;  // sanitizers reserve more than there is
#else
constexpr int kSeconds = 30;
constexpr bool kBoundedMemory = true;
#endif
constexpr std::uint64_t kShards = 20, kPerShard = 15, kPerShardFull = 500;

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

const CommandFiles kFiles{
    .models = {"in/moe.gguf", "in/dense.gguf", "in/cut.gguf", "in/moe-link.gguf"},
    .texts = {"in/text", "in/long"},
    .others = {"in/garbage", "in/empty", "in/text", "in", "in/none", "none/none", "/dev/null", "in/plan.json",
               "/dev/full"},
    .outputs = {"out/new", "out/old", "out/link", "out/dangling", "out/none/new", "out", "/dev/null", "/dev/full",
                "in/moe.gguf", "in/moe-link.gguf", "out/hard.gguf", "/dev/stdout", ""},
};

/// The files that every command finds, in two folders.
void fill(const fs::path& folder, const fs::path& models) {
    fs::create_directories(folder / "in");
    fs::create_directories(folder / "out");
    for (const char* model : {"moe.gguf", "dense.gguf"}) fs::copy_file(models / model, folder / "in" / model);
    const std::string moe = read_file(models / "moe.gguf");
    std::ofstream(folder / "in/cut.gguf") << moe.substr(0, moe.size() / 2);
    fs::create_symlink("moe.gguf", folder / "in/moe-link.gguf");
    std::ofstream(folder / "in/text") << "Once upon a time there was a fox.\n";
    std::string text;
    for (int i = 0; i < 300; ++i) text += "words and words ";
    std::ofstream(folder / "in/long") << text;
    std::ofstream(folder / "in/garbage") << std::string("\x00\xff{[GGUF", 8);
    std::ofstream(folder / "in/empty");
    std::ofstream(folder / "in/plan.json") << "{}";
    std::ofstream(folder / "out/old") << "old";
    fs::create_symlink("old", folder / "out/link");
    fs::create_symlink("made", folder / "out/dangling");
    fs::create_hard_link(folder / "in/moe.gguf", folder / "out/hard.gguf");
}

/// What each path below a folder is: kind, mode, and content or target.
std::map<std::string, std::string> snapshot(const fs::path& folder) {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        const fs::file_status status = entry.symlink_status();
        std::string what = std::to_string(static_cast<int>(status.type())) + " " +
                           std::to_string(static_cast<unsigned>(status.permissions())) + " ";
        if (fs::is_symlink(status))
            what += fs::read_symlink(entry.path()).string();
        else if (fs::is_regular_file(status))
            what += read_file(entry.path());
        found[entry.path().lexically_relative(folder).string()] = what;
    }
    return found;
}

struct Ended {
    int code = -1;
    bool in_time = true;
    std::string err;
};

/// Runs the command in `folder`, with home folders, streams and files of its own in `beside`.
Ended run_there(const RandomCommand& command, const fs::path& folder, const fs::path& beside) {
    std::vector<std::string> words{LFM_BINARY_DIR "/bin/" + command.program};
    words.insert(words.end(), command.words.begin(), command.words.end());
    std::ofstream(beside / "input", std::ios::binary) << command.input;
    std::signal(SIGPIPE, SIG_IGN);
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGPIPE, SIG_DFL);
        const auto open_as = [](const std::string& path, int flags, int descriptor) {
            const int opened = ::open(path.c_str(), flags, 0600);
            if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(126);
        };
        open_as((beside / "input").string(), O_RDONLY, STDIN_FILENO);
        open_as((beside / "stdout").string(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
        open_as((beside / "stderr").string(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
        if (::chdir(folder.c_str()) != 0) ::_exit(126);
        for (const char* name : {"HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"})
            ::setenv(name, (beside / "home").c_str(), 1);
        const rlimit no_core{0, 0}, memory{std::uint64_t{12} << 30, std::uint64_t{12} << 30};
        ::setrlimit(RLIMIT_CORE, &no_core);
        if (kBoundedMemory) ::setrlimit(RLIMIT_AS, &memory);
        become(words);
    }
    Ended ended;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(kSeconds);
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > until) {
            ended.in_time = false;
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            break;
        }
        ::usleep(2000);
    }
    ended.code = exit_code_of(status);
    ended.err = read_file(beside / "stderr");
    return ended;
}

/// The file that a name of an output leads to.
std::string behind_links(const std::string& name) {
    if (name == "out/link") return "out/old";
    if (name == "out/dangling") return "out/made";
    if (name == "in/moe-link.gguf") return "in/moe.gguf";
    return name;
}

/// Whether the command may have made or changed `path`: it names it as an output and does not read it, too.
bool is_named(const std::string& path, const RandomCommand& command) {
    const auto names = [&](const std::string& word) { return behind_links(word) == path; };
    if (std::ranges::none_of(command.outputs, names)) return false;
    const auto mentions = [&](const std::string& word) {
        return names(word) || names(word.substr(std::min(word.size(), word.find('=') + 1)));
    };
    return std::ranges::count_if(command.words, mentions) <= std::ranges::count_if(command.outputs, names);
}

std::string text_of(const RandomCommand& command) {
    std::string text = command.program;
    for (const std::string& word : command.words) text += " " + tools::shell_quoted(word);
    return text;
}

/// What is wrong; empty: nothing.
std::string complaint(const Ended& ended, const RandomCommand& command,
                      const std::map<std::string, std::string>& before,
                      const std::map<std::string, std::string>& after) {
    if (!ended.in_time) return "did not end in time";
    if (ended.code < 0 || ended.code > 5) return "exit code " + std::to_string(ended.code);
    std::istringstream lines(ended.err);
    std::size_t n_lines = 0;
    std::string last;
    for (std::string line; std::getline(lines, line); last = line) ++n_lines;
    if (ended.code != 0 && !last.starts_with(command.program + ": ")) return "the last line is not an error";
    if (ended.code != 0 && !ended.err.ends_with('\n')) return "the last line does not end";
    if (ended.code == 2 && n_lines != 1) return std::to_string(n_lines) + " lines";
    for (const auto& [path, what] : before) {
        const auto now = after.find(path);
        if (now == after.end()) return path + " is gone";
        if (now->second != what && !is_named(path, command)) return path + " has changed";
        if (now->second.substr(0, 1) != what.substr(0, 1)) return path + " is of another kind";
    }
    for (const auto& [path, what] : after)
        if (!before.contains(path) && !is_named(path, command)) return path + " is new";
    return {};
}

class RandomWalk : public testing::TestWithParam<std::uint64_t> {
protected:
    static void SetUpTestSuite() {
        models_ = std::make_unique<ScratchDir>();
        write_random_model(
            describe_shape("lfm2moe,n_layer=3,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=32,n_vocab=300:Q4_0"),
            models_->file("moe.gguf"), 1);
        write_random_model(describe_shape("lfm2,n_layer=3,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_vocab=300:F16"),
                           models_->file("dense.gguf"), 2);
    }
    static void TearDownTestSuite() { models_.reset(); }

    static void walk(std::uint64_t seed) {
        const ScratchDir dir, beside;
        fill(dir.file(""), models_->file(""));
        const RandomCommand command = random_command(seed, kFiles);
        const auto before = snapshot(dir.file(""));
        const Ended ended = run_there(command, dir.file(""), beside.file(""));
        const std::string wrong = complaint(ended, command, before, snapshot(dir.file("")));
        EXPECT_EQ(wrong, "") << "LFM_WALK_SEED=" << seed << ": " << text_of(command) << "\nexit " << ended.code
                             << ", said:\n"
                             << ended.err;
    }

    static inline std::unique_ptr<ScratchDir> models_;
};

TEST_P(RandomWalk, EndsAsDocumented) {
    if (const char* seed = std::getenv("LFM_WALK_SEED")) return walk(std::strtoull(seed, nullptr, 10));
    const std::uint64_t n = std::getenv("LFM_FULL") != nullptr ? kPerShardFull : kPerShard;
    for (std::uint64_t i = 0; i < n; ++i) walk(GetParam() * kPerShardFull + i);
}

INSTANTIATE_TEST_SUITE_P(, RandomWalk, testing::Range(std::uint64_t{0}, kShards));

}  // namespace
}  // namespace lfm::test
