// The cached profile: kept, distrusted, replaced.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <stdlib.h>
#include <sys/stat.h>

#include "memory/error.h"
#include "planner/machine_json.h"
#include "tests/tools/scratch_dir.h"
#include "tools/machine_cache.h"

namespace lfm::test {
namespace {

using tools::this_machine;

class MachineCacheTest : public testing::Test {
protected:
    MachineCacheTest() { ::setenv("XDG_CACHE_HOME", dir_.file("cache").c_str(), 1); }
    ~MachineCacheTest() override { ::unsetenv("XDG_CACHE_HOME"); }

    /// What this_machine gives, what it says, and whether it measured.
    struct Answer {
        MachineProfile machine;
        std::string said;
        bool measured = false;
    };
    Answer ask() {
        Answer answer;
        const tools::Console console("test", tools::Verbosity::kNormal);
        tools::MachineCacheOptions options{.console = console};
        options.probe.time = std::chrono::milliseconds(300);
        options.probe.memory = Bytes{std::uint64_t{16} << 20};
        options.probe.progress = [&](std::string_view, double) { answer.measured = true; };
        testing::internal::CaptureStderr();
        answer.machine = this_machine(options);
        answer.said = testing::internal::GetCapturedStderr();
        return answer;
    }

    ScratchDir dir_;
    const std::string path_ = dir_.file("cache/lfm/machine.json");
};

TEST_F(MachineCacheTest, MeasuresOnce) {
    const Answer first = ask();
    EXPECT_TRUE(first.measured);
    EXPECT_TRUE(std::filesystem::exists(path_));
    const Answer second = ask();
    EXPECT_FALSE(second.measured);
    EXPECT_EQ(second.said, "");
    EXPECT_EQ(to_part(second.machine), to_part(first.machine));
}

TEST_F(MachineCacheTest, ADamagedFileIsNamedAndReplaced) {
    std::filesystem::create_directories(dir_.file("cache/lfm"));
    const std::string deep(100000, '[');
    for (const std::string& damaged : {std::string(), std::string("{\"format\":"), std::string("[]"), deep,
                                       std::string(5 << 20, ' '), std::string("\0\xff\xfe", 3)}) {
        std::ofstream(path_, std::ios::binary) << damaged;
        const Answer answer = ask();
        EXPECT_TRUE(answer.measured);
        EXPECT_NE(answer.said.find("warning: " + path_), std::string::npos) << answer.said;
        EXPECT_NE(answer.said.find("measuring again"), std::string::npos) << answer.said;
        EXPECT_LT(answer.said.size(), 2000u);
        EXPECT_FALSE(ask().measured);
    }
}

TEST_F(MachineCacheTest, APartWithoutHostIsNoMachine) {
    MachineProfile machine = ask().machine;
    MachinePart part = to_part(machine);
    part.host.reset();
    std::ofstream(path_) << to_json(part);
    EXPECT_TRUE(ask().measured);
}

TEST_F(MachineCacheTest, AnotherMachinesProfileIsSaidToBe) {
    MachineProfile machine = ask().machine;
    machine.host.name = "Abacus 3000";
    tools::store_machine(path_, machine);
    const Answer answer = ask();
    EXPECT_TRUE(answer.measured);
    EXPECT_NE(answer.said.find("processor: "), std::string::npos) << answer.said;
    EXPECT_NE(answer.said.find("Abacus 3000 there"), std::string::npos) << answer.said;
    EXPECT_FALSE(ask().measured);
}

TEST_F(MachineCacheTest, WhatCannotBeStoredIsStillMeasured) {
    for (const char* cache : {"/dev/null", "/proc/none"}) {
        ::setenv("XDG_CACHE_HOME", cache, 1);
        const Answer answer = ask();
        EXPECT_TRUE(answer.measured);
        EXPECT_GT(answer.machine.host.read_bandwidth.size(), 0u);
        const std::size_t warning = answer.said.find("could not be stored");
        EXPECT_NE(warning, std::string::npos) << answer.said;
        EXPECT_EQ(answer.said.find("could not be stored", warning + 1), std::string::npos) << answer.said;
    }
}

TEST_F(MachineCacheTest, APipeInItsPlaceDoesNotBlock) {
    std::filesystem::create_directories(dir_.file("cache/lfm"));
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    EXPECT_THROW(tools::read_cached_machine(path_), Error);
}

TEST(MachineCachePath, FollowsTheEnvironment) {
    const auto path = [](const char* cache, const char* home) {
        const std::string before = ::getenv("HOME") != nullptr ? ::getenv("HOME") : "";
        ::setenv("XDG_CACHE_HOME", cache, 1), ::setenv("HOME", home, 1);
        const auto found = tools::machine_cache_path();
        ::setenv("HOME", before.c_str(), 1), ::unsetenv("XDG_CACHE_HOME");
        return found.value_or("none");
    };
    EXPECT_EQ(path("/c", "/h"), "/c/lfm/machine.json");
    EXPECT_EQ(path("", "/h"), "/h/.cache/lfm/machine.json");
    EXPECT_EQ(path("relative", "/h"), "/h/.cache/lfm/machine.json");
    EXPECT_EQ(path("", ""), "none");
}

}  // namespace
}  // namespace lfm::test
