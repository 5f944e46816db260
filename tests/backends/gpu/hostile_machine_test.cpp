// The GPU backend on machines that lack something: it takes a slower way and remarks on it, or reports an error.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backends/gpu/emulation/faults.h"
#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/needs/conv_ring.h"
#include "tests/backends/device_work.h"
#include "tests/backends/gpu/emulated_device.h"
#include "tests/backends/step_sequence.h"

namespace lfm::test {
namespace {

namespace emulation = gpu::emulation;
using emulation::Machine;
using emulation::Serialising;

constexpr BackendLimits kLimits{.n_batch = 8, .n_ctx = 64};
constexpr Bytes kBudget{std::uint64_t{64} << 20};

class HostileMachine : public testing::Test {
protected:
    void SetUp() override { emulation::reset_machine(); }
    void TearDown() override {
        for (const std::string& report : emulation::take_reports()) ADD_FAILURE() << report;
        emulation::reset_machine();
    }
    static std::unique_ptr<Device> open(Ledger& ledger, double spin_seconds = 1) {
        return lfm_gpu_module()->open({.budget = kBudget, .limits = kLimits, .spin_seconds = spin_seconds}, ledger);
    }
    static std::string remarks(const Device& device) {
        std::string text;
        for (const std::string& remark : device.remarks()) text += remark + "\n";
        return text;
    }
    /// Steps that meet the host; each part is submitted when the points that it waits for are reached.
    static void run_steps(Device& device) {
        Doubling work(device);
        run_steps(device, work);
    }
    static void run_steps(Device& device, Doubling& work) {
        for (std::uint32_t step = 0; step < 4; ++step) {
            work.step.n_tokens = 1 + step % 2;
            work.set(1);
            device.begin_step();
            const Point first = device.submit(work.program, {});
            device.flush();
            device.wait(first);
            work.host()[0] += 1;
            device.signal();
            const Point host = device.last(Timeline::kHostSignals);
            const Point end = device.submit(work.program, std::span(&host, 1));
            device.flush();
            device.wait(end);
            EXPECT_EQ(work.host()[0], 6) << step;
        }
    }
};

TEST_F(HostileMachine, NothingIsRemarkedWhereAllIsWell) {
    Ledger ledger;
    const auto device = open(ledger);
    run_steps(*device);
    EXPECT_EQ(remarks(*device), "");
    EXPECT_EQ(device->limits().waits, WaitKind::kSpins);
    EXPECT_FALSE(device->stalled());
}

TEST_F(HostileMachine, KernelsStartEarlyOnlyWhereThatIsAskedFor) {
    for (const bool starts_early : {false, true}) {
        Ledger ledger;
        const auto device =
            lfm_gpu_module()->open({.budget = kBudget, .limits = kLimits, .starts_early = starts_early}, ledger);
        const std::uint64_t before = emulation::counts().early_launches;
        run_steps(*device);
        EXPECT_EQ(emulation::counts().early_launches > before, starts_early);
        EXPECT_EQ(remarks(*device), "");
    }
}

TEST_F(HostileMachine, StreamsThatRunOneAfterAnotherAreNoticed) {
    for (const Serialising how : {Serialising::kLaunchesBlock, Serialising::kOneQueue}) {
        emulation::reset_machine({.serialising = how});
        const auto begin = std::chrono::steady_clock::now();
        Ledger ledger;
        const auto device = open(ledger);
        EXPECT_EQ(device->limits().waits, WaitKind::kByCaller);
        EXPECT_NE(remarks(*device).find("kernels wait for nothing"), std::string::npos) << remarks(*device);
        Doubling work(*device);
        run_steps(*device, work);
        device->begin_step();
        const Point never{Timeline::kHostSignals, device->last(Timeline::kHostSignals).value + 1};
        EXPECT_EQ(error_of([&] { device->submit(work.program, std::span(&never, 1)); }), ErrorCode::kUsage);
        device->submit(work.program, {});
        device->flush();
        static_cast<Backend&>(*device).wait();
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    }
}

TEST_F(HostileMachine, AKernelGivesUpWaitingAfterItsBound) {
    Ledger ledger;
    const auto device = open(ledger, 0.02);
    Doubling work(*device);
    for (const std::uint32_t n_tokens : {1u, 2u, 1u}) {
        work.step.n_tokens = n_tokens;
        const auto begin = std::chrono::steady_clock::now();
        device->begin_step();
        const Point host{Timeline::kHostSignals, device->last(Timeline::kHostSignals).value + 1};
        const Point later{Timeline::kHostSignals, host.value + 1};
        device->submit(work.program, std::span(&host, 1));
        const Point end = device->submit(work.program, std::span(&later, 1));
        device->flush();
        device->wait(end);  // nobody signals
        EXPECT_TRUE(device->stalled());
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
        device->signal();
        device->signal();
        device->begin_step();
        EXPECT_FALSE(device->stalled());
        const Point again = device->submit(work.program, {});
        device->flush();
        device->wait(again);
        EXPECT_FALSE(device->stalled());
    }
    EXPECT_NE(remarks(*device).find("gave up waiting for the host after 0.02 s, 3 times"), std::string::npos)
        << remarks(*device);
}

TEST_F(HostileMachine, AConvolutionDoneAgainGivesTheSame) {
    constexpr std::uint32_t kCols = 64, kTaps = 3, kPosition = 5, kWindow = 3;
    constexpr ConvRing kRing = ConvRing::of(kTaps, 0);
    Ledger ledger;
    const auto device = open(ledger, 0.02);
    const DeviceBlock rows = device->allocate(MemoryKind::kShared, Purpose::kActivations, 8 * kCols * sizeof(float));
    auto* const bcx = reinterpret_cast<float*>(rows.host().data());
    const DeviceBlock weights = device->allocate(MemoryKind::kShared, Purpose::kWeights, kCols * kTaps * sizeof(float));
    const DeviceBlock state =
        device->allocate(MemoryKind::kShared, Purpose::kConvState, kRing.n_slots * kCols * sizeof(float));
    for (std::uint32_t i = 0; i < 8 * kCols; ++i) bcx[i] = static_cast<float>(i % 7) - 3;
    for (std::uint32_t i = 0; i < kCols * kTaps; ++i)
        reinterpret_cast<float*>(weights.host().data())[i] = static_cast<float>(i % 5);
    auto* const ring = reinterpret_cast<float*>(state.host().data());
    for (std::uint32_t i = 0; i < kRing.n_slots * kCols; ++i) ring[i] = static_cast<float>(i % 11);
    auto* const on_device = reinterpret_cast<float*>(rows.address());
    const Operation conv = ShortConvArgs{.bcx = {on_device, 3 * kCols},
                                         .taps = reinterpret_cast<const float*>(weights.address()),
                                         .l_cache = kTaps,
                                         .ring = reinterpret_cast<float*>(state.address()),
                                         .n_slots = kRing.n_slots,
                                         .out = {on_device + 4 * kCols, kCols}};
    StepParams step{.n_tokens = 1};
    StepSequence sequence;
    lfm::test::follow(step, sequence, kPosition, kWindow);
    const Program program = device->record(std::span(&conv, 1), step);
    const std::vector<float> before(ring, ring + kRing.n_slots * kCols);
    const auto run = [&] {
        device->begin_step();
        device->wait([&] {
            const Point end = device->submit(program, {});
            device->flush();
            return end;
        }());
        std::vector<float> found(ring, ring + kRing.n_slots * kCols);
        found.insert(found.end(), bcx + 4 * kCols, bcx + 5 * kCols);
        return found;
    };
    const auto once = run();
    EXPECT_EQ(run(), once);
    for (std::uint32_t i = 0; i < kRing.n_past * kCols; ++i) {
        const std::uint32_t at = kRing.slot(kWindow, i / kCols) * kCols + i % kCols;
        EXPECT_EQ(once[at], before[at]) << "the window is overwritten";
    }
    follow(step, sequence, kPosition + 1, kRing.after(kWindow, 1, 1));
    EXPECT_NE(run(), once) << "the next step has another window";
}

TEST_F(HostileMachine, RefusedCapturesMeanKernelByKernel) {
    const auto check = [](const char* why) {
        Ledger ledger;
        const auto device = open(ledger);
        run_steps(*device);
        EXPECT_NE(remarks(*device).find("steps run kernel by kernel, without graphs: "), std::string::npos) << why;
        EXPECT_NE(remarks(*device).find(why), std::string::npos) << remarks(*device);
    };
    emulation::reset_machine({.captures = false});
    check("beginning a capture");
    emulation::reset_machine();
    emulation::set_faults({.refuse_captures_from = 2});  // the first capture is the trial at opening
    check("beginning a capture");
    emulation::reset_machine();
    emulation::set_faults({.refuse_graph = 2});
    check("making a graph");
}

TEST_F(HostileMachine, RefusedRegistrationIsSaid) {
    emulation::reset_machine({.pins = false});
    Ledger ledger;
    const auto device = open(ledger);
    const std::vector<std::byte> memory(1 << 20);
    EXPECT_EQ(device->register_memory(memory).bytes(), Bytes{});
    EXPECT_NE(remarks(*device).find("go through staging"), std::string::npos) << remarks(*device);
}

TEST_F(HostileMachine, MemoryThatIsMappedReadOnlyIsRegisteredAsSuchWhereThatWorks) {
    emulation::reset_machine({.pins_read_only = 0});
    Ledger ledger;
    const auto device = open(ledger);
    const std::vector<std::byte> memory(1 << 20);
    EXPECT_GT(device->register_memory(memory).bytes(), Bytes{});
    EXPECT_EQ(remarks(*device), "");
}

TEST_F(HostileMachine, AnOlderDriverIsNamed) {
    emulation::reset_machine({.driver_version = 12020, .runtime_version = 13000});
    std::string why_none;
    EXPECT_TRUE(lfm_gpu_module()->list_devices(why_none).empty());
    EXPECT_EQ(why_none, "the driver knows Emulation 12.2, this module needs 13.0");
}

TEST_F(HostileMachine, WhatTheDriverTakesIsMeasured) {
    Ledger ledger;
    const Bytes usual = open(ledger)->allocated();
    constexpr std::size_t kContext = std::size_t{7} << 20;
    emulation::reset_machine({.context = kContext});
    {
        const auto device = open(ledger);
        const double expected = static_cast<double>(usual.value) + kContext - (1 << 20);
        EXPECT_NEAR(static_cast<double>(device->allocated().value), expected, 4096);
        EXPECT_EQ(ledger.total(device->id()), device->allocated());
        EXPECT_NE(remarks(*device).find("the driver took 7.00 MiB"), std::string::npos) << remarks(*device);
    }
    emulation::reset_machine({.context = std::size_t{80} << 20});
    EXPECT_EQ(error_of([&] { open(ledger); }), ErrorCode::kShortfall);
}

TEST_F(HostileMachine, AStepMayHaveAnyNumberOfPrograms) {
    Ledger ledger;
    const auto device = open(ledger);
    Doubling work(*device);
    std::vector<Program> programs;
    const RowsView row{reinterpret_cast<float*>(work.block.address()), Doubling::kCols};
    const Operation nothing = CopyArgs{.parts = {RowsCopy{row, row}}, .n_parts = 1};
    for (std::uint32_t i = 0; i < 700; ++i) programs.push_back(device->record(std::span(&nothing, 1), work.step));
    for (int step = 0; step < 2; ++step) {
        device->begin_step();
        Point end;
        for (const Program& program : programs) end = device->submit(program, {}, Watched::kNo);
        device->flush();
        device->wait(end);
    }
    EXPECT_EQ(remarks(*device), "");
}

}  // namespace
}  // namespace lfm::test
