// lfm-probe as a user calls it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <stdlib.h>

#include "planner/machine/machine_json.h"
#include "tests/device_kinds.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

const std::string kProbe = LFM_BINARY_DIR "/bin/lfm-probe";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Devices that are measured without being asked for.
std::size_t n_cards() {
    return static_cast<std::size_t>(std::ranges::count_if(
        find_devices(BackendName::kAuto),
        [](const FoundDevice& device) { return device.why_unusable.empty() && !device.emulated; }));
}

class ProbeToolTest : public testing::Test {
protected:
    ProbeToolTest() { ::setenv("XDG_CACHE_HOME", dir_.file("cache").c_str(), 1); }
    ~ProbeToolTest() override { ::unsetenv("XDG_CACHE_HOME"); }

    std::size_t n_files(const std::string& folder) const {
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(dir_.file(folder)), fs::directory_iterator()));
    }

    ScratchDir dir_;
    const std::string path_ = dir_.file("cache/lfm/machine.json");
};

TEST_F(ProbeToolTest, AQuickRunWritesAProfileAndTheNextReplacesIt) {
    const auto begin = Clock::now();
    const Result first = run({kProbe, "--quick"});
    EXPECT_LE(Clock::now() - begin, 10 * kStopsWithin);
    ASSERT_EQ(first.code, 0) << first.err;
    const MachinePart part = parse_machine_part(read_file(path_), path_);
    ASSERT_TRUE(part.host);
    EXPECT_EQ(part.devices.size(), n_cards());
    EXPECT_NE(part.measured_at, "");
    EXPECT_NE(first.out.find(part.host->name), std::string::npos) << first.out;
    for (const char* word : {"read bandwidth", "Q4_K", "attention", "operation", "GFLOP/s"})
        EXPECT_NE(first.out.find(word), std::string::npos) << first.out;
    EXPECT_NE(first.err.find("lfm-probe: processor: measuring\n"), std::string::npos) << first.err;
    EXPECT_NE(first.err.find("written to " + path_), std::string::npos) << first.err;
    EXPECT_EQ(first.err.find('\r'), std::string::npos);  // no terminal

    const Result second = run({kProbe, "-q"});
    ASSERT_EQ(second.code, 0) << second.err;
    EXPECT_EQ(second.err, "");
    const MachinePart next = parse_machine_part(read_file(path_), path_);
    EXPECT_NE(next.host->read_bandwidth, part.host->read_bandwidth);
    EXPECT_EQ(next.host->memory, part.host->memory);
    EXPECT_EQ(n_files("cache/lfm"), 1u);
}

TEST_F(ProbeToolTest, ADashPrintsTheProfileAndStoresNone) {
    const Result result = run({kProbe, "-o", "-", "-t", "1"});
    ASSERT_EQ(result.code, 0) << result.err;
    const MachinePart part = parse_machine_part(result.out, "stdout");
    ASSERT_TRUE(part.host);
    EXPECT_EQ(part.host->n_threads, 1u);
    EXPECT_EQ(part.host->read_bandwidth.size(), 1u);
    EXPECT_FALSE(fs::exists(dir_.file("cache")));
}

TEST_F(ProbeToolTest, AnEmulatedDeviceIsMeasuredWhenAskedForByName) {
    const auto device = vulkan_device();
    if (!device) GTEST_SKIP() << vulkan_absence();
    const std::string own = device->emulated ? dir_.file("cache/lfm/machine-vulkan.json") : path_;
    const Result result = run({kProbe, "--backend", "vulkan"});
    ASSERT_EQ(result.code, 0) << result.err;
    const MachinePart part = parse_machine_part(read_file(own), own);
    ASSERT_GE(part.devices.size(), 1u) << result.err;
    EXPECT_NE(result.err.find("written to " + own), std::string::npos) << result.err;
    for (const std::string& word : {device->description.name, std::string("handshake"), std::string("both at work")})
        EXPECT_NE(result.out.find(word), std::string::npos) << result.out;
    EXPECT_EQ(n_files("cache/lfm"), 1u);
}

TEST_F(ProbeToolTest, ListsDevicesAndWhyThereAreNone) {
    const Result all = run({kProbe, "--list"});
    EXPECT_EQ(all.code, 0) << all.err;
    for (const BackendName backend : {BackendName::kCuda, BackendName::kHip, BackendName::kVulkan}) {
        const std::string name = backend_text(backend);
        const std::vector<FoundDevice> found = find_devices(backend);
        const bool usable = std::ranges::any_of(found, [](const auto& device) { return device.why_unusable.empty(); });
        const Result one = run({kProbe, "--list", "--backend", name});
        EXPECT_EQ(one.code, usable ? 0 : 1) << one.out;
        EXPECT_NE(all.out.find(one.out), std::string::npos) << all.out;
        EXPECT_TRUE(one.out.starts_with(found.empty() ? name + ": none (" : name + " 0: ")) << one.out;
        for (const FoundDevice& device : found)
            EXPECT_NE(one.out.find(device.description.name + ", " +
                                   (device.why_unusable.empty() ? "" : "cannot be used: " + device.why_unusable)),
                      std::string::npos)
                << one.out;
    }
    EXPECT_EQ(run({kProbe, "--list", "--backend", "sim"}).code, 2);
    EXPECT_FALSE(fs::exists(dir_.file("cache")));
}

TEST_F(ProbeToolTest, TheEmulationIsListedOnlyByName) {
    if (const std::string why = emulated_gpu_absence<32>(); !why.empty()) GTEST_SKIP() << why;
    EXPECT_EQ(run({kProbe, "--list"}).out.find("emulated32"), std::string::npos);
    const Result named = run({kProbe, "--list", "--backend", "emulated32"});
    EXPECT_EQ(named.code, 0) << named.err;
    EXPECT_TRUE(named.out.starts_with("emulated32 0: ")) << named.out;
    EXPECT_NE(named.out.find(", emulated\n"), std::string::npos) << named.out;
}

TEST_F(ProbeToolTest, AnOldDriverIsNamedWithWhatIsNeeded) {
    if (const std::string why = emulated_gpu_absence<32>(); !why.empty()) GTEST_SKIP() << why;
    const Result named =
        run({"/usr/bin/env", "LFM_EMULATION_MACHINE=old-driver", kProbe, "--list", "--backend", "emulated32"});
    EXPECT_EQ(named.code, 1) << named.err;
    EXPECT_TRUE(named.out.starts_with("emulated32: none (the driver ")) << named.out;
    EXPECT_NE(named.out.find("12.2, this module needs 13.0)"), std::string::npos) << named.out;
}

TEST_F(ProbeToolTest, WhatCannotBeWrittenIsSaidBeforeMeasuring) {
    const auto begin = Clock::now();
    fs::create_directory(dir_.file("folder"));
    for (const std::string& path : {dir_.file("folder"), dir_.file("none/x.json"), std::string("/dev/full/x.json")}) {
        const Result result = run({kProbe, "-o", path});
        EXPECT_EQ(result.code, 1) << path;
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
        EXPECT_NE(result.err.find(path), std::string::npos) << result.err;
        EXPECT_EQ(result.out, "");
    }
    ::setenv("XDG_CACHE_HOME", "/dev/null", 1);
    const Result result = run({kProbe});
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    EXPECT_LT(Clock::now() - begin, 4 * kStopsWithin);
}

TEST_F(ProbeToolTest, ASignalEndsItSoonAndLeavesNoFile) {
    for (const auto& [signal, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}}) {
        Process process({kProbe, "-o", dir_.file("x.json")});
        ::usleep(1'200'000);  // it is measuring by now
        const auto begin = Clock::now();
        process.signal(signal);
        EXPECT_EQ(process.wait(), code) << process.stderr_text;
        EXPECT_LT(Clock::now() - begin, kStopsWithin);
        EXPECT_EQ(process.stdout_text, "");
        EXPECT_EQ(n_files(""), 0u);
    }
}

TEST_F(ProbeToolTest, ATerminalSeesOneLineThatMoves) {
    Terminal terminal({kProbe, "-o", dir_.file("x.json")});
    EXPECT_TRUE(terminal.wait_for("measuring this machine"));
    EXPECT_TRUE(terminal.wait_for("\rmeasuring this machine"));
    terminal.signal(SIGINT);
    EXPECT_EQ(terminal.wait(), 130) << terminal.screen;
    EXPECT_EQ(terminal.screen.find("filling"), std::string::npos) << terminal.screen;
}

TEST_F(ProbeToolTest, HelpAndUsage) {
    const Result help = run({kProbe, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_LE(std::ranges::count(help.out, '\n'), 24);
    std::size_t line_begin = 0;
    for (std::size_t end; (end = help.out.find('\n', line_begin)) != std::string::npos; line_begin = end + 1)
        EXPECT_LE(end - line_begin, 80u);
    EXPECT_EQ(run({kProbe, "--version"}).out.substr(0, 10), "lfm-probe ");
    for (const std::vector<std::string>& words : {std::vector<std::string>{"--quick", "--full"},
                                                  {"-t", "0"},
                                                  {"-t", "100000"},
                                                  {"-t", "x"},
                                                  {"--backend", "abacus"},
                                                  {"--backend", "sim"},
                                                  {"--backend", "vulkan", "--device", "99"},
                                                  {"--device", "0"},
                                                  {"--none"},
                                                  {"word"}}) {
        std::vector<std::string> command{kProbe};
        command.insert(command.end(), words.begin(), words.end());
        const Result result = run(command);
        EXPECT_EQ(result.code, 2) << words[0];
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
}

}  // namespace
}  // namespace lfm::test
