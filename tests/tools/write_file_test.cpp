// Files are old or new, never torn, whoever dies while writing.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include <sys/stat.h>

#include "planner/machine_json.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"
#include "tools/model_options.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t n_files(const ScratchDir& dir) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir.file("")), fs::directory_iterator()));
}

TEST(WriteFile, ReplacesAndLeavesNothingElse) {
    const ScratchDir dir;
    const mode_t mask = ::umask(027);
    tools::write_file(dir.file("x"), "one");
    tools::write_file(dir.file("x"), "another");
    ::umask(mask);
    EXPECT_EQ(read_file(dir.file("x")), "another");
    EXPECT_EQ(n_files(dir), 1u);
    EXPECT_EQ(static_cast<unsigned>(fs::status(dir.file("x")).permissions()), 0640u);
}

TEST(WriteFile, AnErrorLeavesTheOldFile) {
    const ScratchDir dir;
    fs::create_directory(dir.file("folder"));
    for (const std::string& path : {dir.file("folder"), dir.file("none/x"), std::string("/dev/full")}) {
        try {
            tools::write_file(path, "text");
            ADD_FAILURE() << path;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kIo);
            EXPECT_EQ(error.where(), path);
        }
    }
    EXPECT_EQ(n_files(dir), 1u);
}

TEST(WriteFile, ALinkStaysALink) {
    const ScratchDir dir;
    fs::create_symlink("file", dir.file("link"));
    tools::write_file(dir.file("file"), "old");
    tools::write_file(dir.file("link"), "new");
    EXPECT_TRUE(fs::is_symlink(dir.file("link")));
    EXPECT_EQ(read_file(dir.file("file")), "new");
    EXPECT_EQ(n_files(dir), 2u);
}

TEST(WriteFile, APipeStaysAPipe) {
    const ScratchDir dir;
    const std::string path = dir.file("pipe");
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    std::string seen;
    std::thread reader([&] { seen = read_file(path); });
    tools::write_file(path, "through the pipe");
    reader.join();
    EXPECT_EQ(seen, "through the pipe");
    EXPECT_TRUE(fs::is_fifo(path));
    EXPECT_EQ(n_files(dir), 1u);
}

/// A profile with as many bytes as a real one.
std::string profile_text(double gb_per_s) {
    const Figure figure{gb_per_s, Measured{7, 0.01}};
    MachinePart part;
    part.name = "machine";
    part.measured_at = "2026-01-01T00:00:00Z";
    HostProfile host;
    host.name = "processor";
    host.n_cores = host.n_threads = 2;
    host.memory = Bytes{std::uint64_t{1} << 34};
    for (std::uint32_t n = 1; n <= 2; ++n) host.read_bandwidth.push_back({n, figure});
    for (const DTypeInfo& info : all_dtypes())
        host.matvec_gb_per_s.types[info.type] = host.gemm_gflop_per_s.types[info.type] = figure;
    host.attention_gb_per_s = host.operation_us = figure;
    part.host = host;
    return to_json(part);
}

pid_t start_writer(const std::string& path, const std::string& one, const std::string& other) {
    const pid_t id = ::fork();
    if (id != 0) return id;
    try {
        for (;;) tools::write_file(path, one), tools::write_file(path, other);
    } catch (...) {
    }
    ::_exit(1);
}

TEST(WriteFile, KilledWritersLeaveOldOrNew) {
    const ScratchDir dir;
    const std::string path = dir.file("machine.json");
    const std::string one = profile_text(10), other = profile_text(12.5);
    tools::write_file(path, one);
    std::mt19937 random(1);
    int n_changed = 0;
    for (int kill = 0; kill < 40; ++kill) {
        const std::string before = read_file(path);
        const pid_t writers[] = {start_writer(path, one, other), start_writer(path, one, other)};
        ASSERT_GT(writers[0], 0);
        ASSERT_GT(writers[1], 0);
        for (const pid_t writer : writers) {
            ::usleep(1000 + random() % 8000);
            ASSERT_EQ(::kill(writer, SIGKILL), 0);
            int status = 0;
            ::waitpid(writer, &status, 0);
            EXPECT_TRUE(WIFSIGNALED(status)) << "a writer failed";
        }
        const std::string text = read_file(path);
        ASSERT_TRUE(text == one || text == other) << text.size();
        EXPECT_NO_THROW(parse_machine_part(text, path));
        n_changed += text != before;
    }
    EXPECT_GT(n_changed, 0);
}

}  // namespace
}  // namespace lfm::test
