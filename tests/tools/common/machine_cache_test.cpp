// The cached profile: when it is kept, and when it is measured anew.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <stdlib.h>
#include <sys/stat.h>

#include "memory/error.h"
#include "planner/machine/machine_json.h"
#include "tests/device_kinds.h"
#include "tests/tools/scratch_dir.h"
#include "tools/common/machine_cache.h"

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
    Answer ask(const std::vector<FoundDevice>& devices = {}) {
        Answer answer;
        const tools::Console console("test", tools::Verbosity::kNormal);
        ProbeOptions probe;
        probe.time = std::chrono::milliseconds(300);
        probe.memory = Bytes{std::uint64_t{16} << 20};
        probe.progress = [&](std::string_view, double) { answer.measured = true; };
        testing::internal::CaptureStderr();
        answer.machine = this_machine({.console = console, .probe = probe, .devices = devices});
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

TEST_F(MachineCacheTest, AProfileThatARunWasClearlyFasterThanIsMeasuredAnew) {
    const tools::Console console("test", tools::Verbosity::kNormal);
    EXPECT_FALSE(tools::forget_slow_profile(1e15, 1, console)) << "there is none";
    const MachineProfile machine = ask().machine;
    const ThreadFigure& figure = machine.host.read_bandwidth.back();
    const double stored = figure.gb_per_s.value() * 1e9;
    testing::internal::CaptureStderr();
    EXPECT_FALSE(tools::forget_slow_profile(stored, figure.n_threads, console));
    EXPECT_FALSE(tools::forget_slow_profile(1.1 * stored, figure.n_threads, console)) << "as measurements differ";
    EXPECT_FALSE(tools::forget_slow_profile(0, figure.n_threads, console)) << "nothing was measured";
    EXPECT_FALSE(tools::forget_slow_profile(2 * stored, 1000, console)) << "by other threads";
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_TRUE(std::filesystem::exists(path_));
    testing::internal::CaptureStderr();
    EXPECT_TRUE(tools::forget_slow_profile(2 * stored, figure.n_threads, console));
    EXPECT_NE(testing::internal::GetCapturedStderr().find("measured anew"), std::string::npos);
    EXPECT_TRUE(ask().measured);
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

FoundDevice some_device(const char* name, std::uint32_t index) {
    FoundDevice device{.backend = BackendName::kVulkan, .index = index};
    device.description.name = name;
    device.description.backend = "vulkan";
    device.description.memory = Bytes{std::uint64_t{8} << 30};
    return device;
}

std::vector<std::string> names(const tools::ProfileScope& scope) {
    std::vector<std::string> names;
    for (const FoundDevice& device : scope.devices) names.push_back(device.description.name);
    return names;
}

TEST(ProfileScope, EmulatedDevicesAreInOnlyWhenAskedForAndInAFileOfTheirOwn) {
    const FoundDevice card = some_device("Card", 1);
    FoundDevice emulated = some_device("Emulated", 0), broken = some_device("Broken", 2);
    emulated.emulated = true;
    broken.why_unusable = "no 16-bit storage";
    const std::vector<FoundDevice> found{emulated, card, broken};
    using Names = std::vector<std::string>;

    const tools::ProfileScope usual = tools::profile_scope(found, {});
    EXPECT_EQ(names(usual), Names{"Card"});
    EXPECT_EQ(usual.file, "machine.json");

    const tools::ProfileScope known = tools::profile_scope(found, {&card, 1});
    EXPECT_EQ(names(known), Names{"Card"});
    EXPECT_EQ(known.file, "machine.json");

    const tools::ProfileScope asked = tools::profile_scope(found, {&emulated, 1});
    EXPECT_EQ(names(asked), (Names{"Card", "Emulated"}));
    EXPECT_EQ(asked.file, "machine-vulkan.json");

    const auto parts = identity_of(asked).parts;
    EXPECT_EQ(parts.at("device 0 name"), "Card");
    EXPECT_EQ(parts.at("device 1 name"), "Emulated");
    EXPECT_NE(identity_of(asked), identity_of(usual));
    EXPECT_EQ(identity_of(tools::profile_scope({&emulated, 1}, {})), present_identity());
}

/// A device's profile without measuring.
DeviceProfile with_figures(DeviceProfile device) {
    const Figure figure{1, Assumed{"a test"}};
    for (Figure* each :
         {&device.read_gb_per_s, &device.attention_gb_per_s, &device.operation_us, &device.handshake_us,
          &device.copy_us, &device.h2d_pinned_gb_per_s, &device.h2d_pageable_gb_per_s, &device.d2h_pinned_gb_per_s,
          &device.d2h_pageable_gb_per_s, &device.h2d_while_host_reads_gb_per_s, &device.host_reads_while_h2d_gb_per_s})
        *each = figure;
    device.matvec_gb_per_s.others = device.gemm_gflop_per_s.others = figure;
    return device;
}

TEST_F(MachineCacheTest, AProfileWithOtherDevicesIsOfAnotherMachine) {
    MachineProfile machine = ask().machine;
    machine.devices.insert(machine.devices.begin(), with_figures(some_device("Card", 0).description));
    tools::store_machine(path_, machine);
    const Answer answer = ask();
    EXPECT_TRUE(answer.measured);
    EXPECT_NE(answer.said.find("device 0 name: "), std::string::npos) << answer.said;
    EXPECT_NE(answer.said.find("Card there"), std::string::npos) << answer.said;
    EXPECT_FALSE(ask().measured);
}

TEST_F(MachineCacheTest, ADeviceAskedForByNameIsInAProfileOfItsOwn) {
    const auto device = vulkan_device();
    if (!device) GTEST_SKIP() << vulkan_absence();
    if (!device->emulated) GTEST_SKIP() << device->description.name << " is measured without being asked for";
    MachineProfile machine = ask().machine;
    machine.devices.push_back(with_figures(device->description));
    tools::store_machine(dir_.file("cache/lfm/machine-vulkan.json"), machine);
    const Answer asked = ask({*device});
    EXPECT_FALSE(asked.measured) << asked.said;
    EXPECT_EQ(to_part(asked.machine), to_part(machine));
    const Answer usual = ask();
    EXPECT_FALSE(usual.measured) << usual.said;
    EXPECT_EQ(usual.machine.devices.size() + 1, asked.machine.devices.size());
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
