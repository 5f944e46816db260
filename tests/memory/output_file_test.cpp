// Files that a program was told to write: checked first, whole at the end, through whatever their name leads to.
#include "memory/output_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/error.h"
#include "tests/tools/scratch_dir.h"

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

ErrorCode refusal(const std::string& path, std::vector<std::string> inputs = {}) {
    try {
        OutputFile file(path, inputs);
    } catch (const Error& error) {
        EXPECT_EQ(error.where(), path);
        return error.code();
    }
    ADD_FAILURE() << path << " was not refused";
    return ErrorCode::kInterrupted;
}

TEST(OutputFile, NothingIsThereUntilItIsWhole) {
    const ScratchDir dir;
    {
        OutputFile file(dir.file("x"));
        file.write("one ");
        EXPECT_FALSE(fs::exists(dir.file("x")));
        file.write("two");
        file.keep();
    }
    EXPECT_EQ(read_file(dir.file("x")), "one two");
    {
        OutputFile file(dir.file("x"));
        file.reserve(Bytes{1 << 20});
        file.write("other");
        EXPECT_EQ(read_file(dir.file("x")), "one two");
    }
    EXPECT_EQ(read_file(dir.file("x")), "one two") << "what is not kept changes nothing";
    EXPECT_EQ(n_files(dir), 1u);
}

TEST(OutputFile, RoomThatWasNotNeededIsGivenBack) {
    const ScratchDir dir;
    OutputFile file(dir.file("x"));
    file.reserve(Bytes{1 << 20});
    file.write("little");
    file.keep();
    EXPECT_EQ(read_file(dir.file("x")), "little");
}

TEST(OutputFile, TheModeOfTheOldFileStays) {
    const ScratchDir dir;
    std::ofstream(dir.file("x")) << "old";
    fs::permissions(dir.file("x"), fs::perms(0751));
    write_file(dir.file("x"), "new");
    EXPECT_EQ(static_cast<unsigned>(fs::status(dir.file("x")).permissions()), 0751u);
    const mode_t mask = ::umask(027);
    write_file(dir.file("y"), "new");
    ::umask(mask);
    EXPECT_EQ(static_cast<unsigned>(fs::status(dir.file("y")).permissions()), 0640u);
}

TEST(OutputFile, LinksStayAndLeadToTheFile) {
    const ScratchDir dir;
    fs::create_directory(dir.file("folder"));
    std::ofstream(dir.file("folder/old")) << "old";
    fs::create_symlink("folder/old", dir.file("link"));
    fs::create_symlink(dir.file("link"), dir.file("link to a link"));
    fs::create_symlink("folder/made", dir.file("dangling"));
    write_file(dir.file("link to a link"), "new");
    write_file(dir.file("dangling"), "made");
    EXPECT_TRUE(fs::is_symlink(dir.file("link")) && fs::is_symlink(dir.file("link to a link")));
    EXPECT_TRUE(fs::is_symlink(dir.file("dangling")));
    EXPECT_EQ(read_file(dir.file("folder/old")), "new");
    EXPECT_EQ(read_file(dir.file("folder/made")), "made");
    EXPECT_EQ(n_files(dir), 4u);
}

TEST(OutputFile, DevicesAndPipesAreWrittenTo) {
    const ScratchDir dir;
    write_file("/dev/null", "nothing");
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
    EXPECT_EQ(refusal("/dev/full"), ErrorCode::kIo);
    EXPECT_TRUE(fs::is_character_file("/dev/full"));
    const std::string pipe = dir.file("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    OutputFile file(pipe);  // does not wait for a reader yet
    std::string seen;
    std::thread reader([&] { seen = read_file(pipe); });
    file.write("through ");
    file.write("the pipe");
    file.keep();
    reader.join();
    EXPECT_EQ(seen, "through the pipe");
    EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(OutputFile, ADescriptorOfTheProcessIsWrittenTo) {
    const ScratchDir dir;
    const int descriptor = ::open(dir.file("x").c_str(), O_WRONLY | O_CREAT, 0600);
    ASSERT_GE(descriptor, 0);
    ASSERT_EQ(::write(descriptor, "first, ", 7), 7);
    write_file("/dev/fd/" + std::to_string(descriptor), "then");
    EXPECT_EQ(read_file(dir.file("x")), "first, then");
    ::close(descriptor);
    EXPECT_EQ(refusal("/dev/fd/" + std::to_string(descriptor)), ErrorCode::kIo);
}

TEST(OutputFile, WhatCannotBeWrittenIsRefusedBeforehand) {
    const ScratchDir dir;
    fs::create_directory(dir.file("folder"));
    std::ofstream(dir.file("file")) << "text";
    fs::create_symlink("round", dir.file("round"));
    for (const std::string& path :
         {std::string(), dir.file("folder"), dir.file("folder/"), dir.file("folder/."), dir.file("none/x"),
          dir.file("file/x"), dir.file("round"), dir.file(std::string(300, 'x')), std::string("/proc/x")})
        EXPECT_EQ(refusal(path), ErrorCode::kIo) << path;
    EXPECT_EQ(n_files(dir), 3u);
    if (::geteuid() == 0) return;  // root is refused nothing
    fs::permissions(dir.file("file"), fs::perms(0444));
    fs::permissions(dir.file("folder"), fs::perms(0555));
    EXPECT_EQ(refusal(dir.file("file")), ErrorCode::kIo);
    EXPECT_EQ(refusal(dir.file("folder/x")), ErrorCode::kIo);
}

TEST(OutputFile, AnInputIsNeverReplaced) {
    const ScratchDir dir;
    std::ofstream(dir.file("model")) << "weights";
    fs::create_symlink("model", dir.file("link"));
    fs::create_hard_link(dir.file("model"), dir.file("hard"));
    for (const char* name : {"model", "link", "hard", "./model"})
        for (const char* input : {"model", "link", "hard"})
            EXPECT_EQ(refusal(dir.file(name), {"none", dir.file(input)}), ErrorCode::kUsage)
                << name << " over " << input;
    EXPECT_EQ(read_file(dir.file("model")), "weights");
    OutputFile other(dir.file("other"), std::vector{dir.file("model")});
    EXPECT_THROW(OutputFile(dir.file("other")).require_other_than(other), Error);
    EXPECT_NO_THROW(OutputFile(dir.file("another")).require_other_than(other));
    EXPECT_NO_THROW(OutputFile("/dev/null").require_other_than(OutputFile("/dev/null")));
}

TEST(WriteFile, ReplacesAndLeavesNothingElse) {
    const ScratchDir dir;
    const mode_t mask = ::umask(027);
    write_file(dir.file("x"), "one");
    write_file(dir.file("x"), "another");
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
            write_file(path, "text");
            ADD_FAILURE() << path;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kIo);
            EXPECT_EQ(error.where(), path);
        }
    }
    EXPECT_EQ(n_files(dir), 1u);
}

pid_t start_writer(const std::string& path, const std::string& one, const std::string& other) {
    const pid_t id = ::fork();
    if (id != 0) return id;
    try {
        for (;;) write_file(path, one), write_file(path, other);
    } catch (...) {
    }
    ::_exit(1);
}

TEST(WriteFile, KilledWritersLeaveOldOrNew) {
    const ScratchDir dir;
    const std::string path = dir.file("x");
    const std::string one(20'000, '1'), other(30'000, '2');
    write_file(path, one);
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
        n_changed += text != before;
    }
    EXPECT_GT(n_changed, 0);
}

}  // namespace
}  // namespace lfm::test
