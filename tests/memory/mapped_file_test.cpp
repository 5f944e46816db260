// Files that are cut, written to or unreadable while they are mapped: zeros and a note, never a crash.
#include "memory/mapped_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;

const std::size_t kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

class Mapped : public testing::Test {
protected:
    /// Full of ones, and old: what is written to it later changes its time.
    fs::path write(const char* name, std::size_t size = 64 * kPage) const {
        const fs::path path = folder_.file(name);
        std::ofstream(path, std::ios::binary) << std::string(size, '\1');
        fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
        return path;
    }

    ScratchDir folder_;
};

std::size_t sum(std::span<const std::byte> bytes) {
    std::size_t total = 0;
    for (const std::byte byte : bytes) total += std::to_integer<std::size_t>(byte);
    return total;
}

TEST_F(Mapped, AnUntouchedFileHasNotChanged) {
    const MappedFile file = MappedFile::open(write("file"));
    EXPECT_EQ(sum(file.bytes()), file.bytes().size());
    EXPECT_FALSE(file.change());
}

TEST_F(Mapped, WhatIsCutOffReadsAsZeros) {
    const fs::path path = write("file");
    const MappedFile file = MappedFile::open(path);
    fs::resize_file(path, 10 * kPage + 100);
    EXPECT_EQ(sum(file.bytes()), 10 * kPage + 100);
    const auto change = file.change();
    ASSERT_TRUE(change);
    EXPECT_EQ(change->offset, 10 * kPage + 100);
    EXPECT_NE(change->message().find("cut to " + std::to_string(10 * kPage + 100)), std::string::npos)
        << change->message();
}

// No read fails there: the system fills the last page with zeros by itself.
TEST_F(Mapped, ACutWithinTheLastPageIsNoticed) {
    const fs::path path = write("file", 4 * kPage);
    const MappedFile file = MappedFile::open(path);
    fs::resize_file(path, 4 * kPage - 1);
    EXPECT_EQ(sum(file.bytes()), 4 * kPage - 1);
    ASSERT_TRUE(file.change());
    EXPECT_EQ(file.change()->offset, 4 * kPage - 1);
}

TEST_F(Mapped, WhatIsWrittenInPlaceIsNoticed) {
    const fs::path path = write("file");
    const MappedFile file = MappedFile::open(path);
    std::fstream(path, std::ios::binary | std::ios::in | std::ios::out) << "x";
    ASSERT_TRUE(file.change());
    EXPECT_EQ(file.change()->offset, std::nullopt);
}

TEST_F(Mapped, AFileThatGrewIsNoticed) {
    const fs::path path = write("file");
    const MappedFile file = MappedFile::open(path);
    fs::resize_file(path, 65 * kPage);
    EXPECT_TRUE(file.change());
}

TEST_F(Mapped, AnotherFileInItsPlaceIsNoChange) {
    const fs::path path = write("file");
    const MappedFile file = MappedFile::open(path);
    fs::rename(write("new", kPage), path);
    EXPECT_EQ(sum(file.bytes()), file.bytes().size());
    EXPECT_FALSE(file.change());
}

// As a disk that fails for a moment: the file looks as before, but somebody has read zeros.
TEST_F(Mapped, AFailedReadIsRemembered) {
    const fs::path path = write("file");
    const auto time = fs::last_write_time(path);
    const MappedFile file = MappedFile::open(path);
    fs::resize_file(path, 0);
    EXPECT_EQ(file.bytes()[5 * kPage + 3], std::byte{0});
    EXPECT_EQ(file.bytes()[7 * kPage], std::byte{0});
    fs::resize_file(path, 64 * kPage);
    fs::last_write_time(path, time);
    ASSERT_TRUE(file.change());
    EXPECT_EQ(file.change()->offset, 5 * kPage + 3);
    EXPECT_NE(file.change()->message().find("read error"), std::string::npos) << file.change()->message();
}

TEST_F(Mapped, EachFileHasItsOwnNote) {
    const fs::path first = write("first"), second = write("second");
    const MappedFile a = MappedFile::open(first), b = MappedFile::open(second);
    fs::resize_file(second, kPage);
    EXPECT_EQ(sum(a.bytes()), 64 * kPage);
    EXPECT_EQ(sum(b.bytes()), kPage);
    EXPECT_FALSE(a.change());
    EXPECT_TRUE(b.change());
}

TEST_F(Mapped, ANoteEndsWithItsFile) {
    for (int i = 0; i < 50; ++i) {
        const fs::path path = write("file");
        MappedFile file = MappedFile::open(path);
        ASSERT_FALSE(file.change()) << "file " << i;
        fs::resize_file(path, kPage);
        ASSERT_EQ(sum(file.bytes()), kPage) << "file " << i;
        ASSERT_TRUE(file.change()) << "file " << i;
        const MappedFile moved = std::move(file);
        ASSERT_TRUE(moved.change()) << "file " << i;
    }
}

TEST_F(Mapped, ManyThreadsMeetTheEndAtOnce) {
    const fs::path path = write("file", 4096 * kPage);
    const MappedFile file = MappedFile::open(path);
    std::atomic<bool> begin = false;
    std::atomic<std::size_t> total = 0;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            while (!begin) std::this_thread::yield();
            // From high to low pages: every thread meets lost ones that nobody has met before.
            for (std::size_t page = 4096 - i; page-- > 0;) total += sum(file.bytes().subspan(page * kPage, 1));
        });
    fs::resize_file(path, kPage);
    begin = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(total, 8u);
    ASSERT_TRUE(file.change());
    EXPECT_EQ(file.change()->offset, kPage);
}

TEST_F(Mapped, FilesComeAndGoBesideFaults) {
    std::atomic<bool> end = false;
    std::thread others([&] {
        const fs::path path = write("other");
        while (!end) EXPECT_FALSE(MappedFile::open(path).change());
    });
    for (int i = 0; i < 100; ++i) {
        const fs::path path = write("file");
        const MappedFile file = MappedFile::open(path);
        fs::resize_file(path, 0);
        ASSERT_EQ(sum(file.bytes()), 0u);
    }
    end = true;
    others.join();
}

// Bus errors outside of guarded files. Each test runs in a process of its own, where no handler was set before.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// Sanitizers have a handler, which reports the error and exits.
bool died_of_bus_error(int status) { return WIFEXITED(status) && WEXITSTATUS(status) != 0; }
#else
bool died_of_bus_error(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS; }
#endif

class BusErrorsOfOthers : public Mapped {
protected:
    BusErrorsOfOthers() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

    /// Reads a page that is not there, of a mapping that is not guarded, while another one is guarded.
    void fault_elsewhere() const {
        const MappedFile guarded = MappedFile::open(write("guarded"));
        fault_at(nullptr);
    }
    /// The mapping goes to `address`, where nothing is mapped; null: anywhere.
    void fault_at(void* address) const {
        const fs::path path = write("file");
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const void* data = ::mmap(address, 64 * kPage, PROT_READ, MAP_SHARED, descriptor, 0);
        if (address != nullptr && data != address) std::_Exit(3);
        fs::resize_file(path, 0);
        std::_Exit(*static_cast<const volatile char*>(data) == 0 ? 1 : 2);
    }
};

TEST_F(BusErrorsOfOthers, KillAsBefore) { EXPECT_EXIT(fault_elsewhere(), died_of_bus_error, ""); }

TEST_F(BusErrorsOfOthers, KillWhereAFileWasGuardedBefore) {
    EXPECT_EXIT(
        {
            std::optional<MappedFile> guarded = MappedFile::open(write("guarded"));
            void* const address = const_cast<std::byte*>(guarded->bytes().data());
            guarded.reset();
            fault_at(address);
        },
        died_of_bus_error, "");
}

TEST_F(BusErrorsOfOthers, KillAlsoWhenSent) {
    EXPECT_EXIT(
        {
            const MappedFile guarded = MappedFile::open(write("guarded"));
            ::raise(SIGBUS);
            std::_Exit(1);
        },
        died_of_bus_error, "");
}

TEST_F(BusErrorsOfOthers, GoToTheHandlerThatWasThereBefore) {
    const auto leave = [](int, siginfo_t* info, void*) { std::_Exit(info->si_code == BUS_ADRERR ? 42 : 43); };
    EXPECT_EXIT(
        {
            struct sigaction action {};
            action.sa_sigaction = leave;
            action.sa_flags = SA_SIGINFO;
            ::sigaction(SIGBUS, &action, nullptr);
            fault_elsewhere();
        },
        testing::ExitedWithCode(42), "");
}

TEST_F(BusErrorsOfOthers, AreIgnoredWhenSentToWhoIgnoresThem) {
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, SIG_IGN);
            const MappedFile guarded = MappedFile::open(write("guarded"));
            ::raise(SIGBUS);
            std::_Exit(guarded.change() ? 1 : 0);
        },
        testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace lfm::test
