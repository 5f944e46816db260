// The contract of device.h on the simulated device: work ahead, points, steps, budget, and destruction at any time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/allocation_counter.h"
#include "tests/backends/sim/sim_run.h"

namespace lfm::test {
namespace {

using Waits = std::vector<Point>;

std::unique_ptr<sim::SimDevice> little_device(Ledger& ledger) { return sim::make_sim_device(little_options(), ledger); }

TEST(SimDevice, MemoryIsCountedAndRefusedBeyondTheBudget) {
    Ledger ledger;
    const auto device = little_device(ledger);
    EXPECT_EQ(device->allocated().value, 1u << 20);
    EXPECT_EQ(ledger.total(DeviceId{1}, Purpose::kContext).value, 1u << 20);
    {
        DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kKvCache, 1000);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.address()) % 256, 0u);
        EXPECT_EQ(block.size(), 1000u);
        EXPECT_TRUE(block.host().empty());
        EXPECT_EQ(ledger.total(DeviceId{1}, Purpose::kKvCache).value, 1024u);
        const DeviceBlock shared = device->allocate(MemoryKind::kShared, Purpose::kStaging, 512);
        EXPECT_EQ(shared.host().data(), shared.address());
        EXPECT_EQ(device->allocated().value, (1u << 20) + 1024 + 512);
    }
    EXPECT_EQ(device->allocated().value, 1u << 20);
    EXPECT_EQ(device->peak().value, (1u << 20) + 1024 + 512);
    const DeviceBlock all = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 3 << 20);
    EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, ~std::size_t{0}); }),
              ErrorCode::kShortfall);
    for (const std::size_t size : {std::size_t{1}, std::size_t{8} << 30}) try {
            device->allocate(MemoryKind::kOwn, Purpose::kExperts, size);
            ADD_FAILURE() << size;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kShortfall);
            EXPECT_NE(std::string(error.what()).find("0 B of the budget of 4.00 MiB"), std::string::npos)
                << error.what();
        }
    EXPECT_EQ(ledger.total(DeviceId{1}).value, device->allocated().value);
}

TEST(SimDevice, TheContextMustFitTheBudget) {
    Ledger ledger;
    auto options = little_options();
    options.budget = {options.context.value - 1};
    EXPECT_EQ(error_of([&] { sim::make_sim_device(options, ledger); }), ErrorCode::kShortfall);
    EXPECT_TRUE(ledger.lines().empty());
}

TEST(SimDevice, ScratchCountsAndARefusedProgramLeavesNothing) {
    Ledger ledger;
    const auto device = little_device(ledger);
    const StepParams step;
    const std::vector<std::byte> weights(36 * 64);
    const auto multiply = [&](std::uint32_t n_in) {
        return Operation(MatmulArgs{.x = {nullptr, n_in},
                                    .outputs = {MatmulOutput{{weights.data(), DType::kQ4_0, 64, n_in, 0}, {}}},
                                    .n_outputs = 1});
    };
    const Operation small = multiply(64), large = multiply(1 << 20);
    const Program first = device->record(std::span(&small, 1), step);
    const Bytes scratch = ledger.total(DeviceId{1}, Purpose::kScratch);
    EXPECT_GT(scratch.value, 8u * 64);
    EXPECT_EQ(error_of([&] { device->record(std::span(&large, 1), step); }), ErrorCode::kShortfall);
    EXPECT_EQ(ledger.total(DeviceId{1}, Purpose::kScratch), scratch);
    EXPECT_EQ(device->allocated(), ledger.total(DeviceId{1}));
    const Program next = device->record(std::span(&small, 1), step);
    EXPECT_EQ(next.id().value, 1u);
    EXPECT_EQ(ledger.total(DeviceId{1}, Purpose::kScratch), scratch);
}

TEST(SimDevice, AProgramWaitsForPointsThatAreNotEnqueuedYet) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    sim::SimDevice& device = run.device();
    device.begin_step();
    const ProgramId empty{0};  // the step has no token
    const Point first = device.submit(empty, Waits{{Timeline::kHostSignals, 2}, {Timeline::kCopy, 1}});
    const Point second = device.submit(empty, Waits{});
    EXPECT_EQ(second.value, first.value + 1);
    device.flush();
    std::atomic<bool> reached{false};
    std::thread waiter([&] {
        device.wait(second);
        reached = true;
    });
    device.signal();
    device.copy({}, Waits{{Timeline::kHostSignals, 1}});
    device.wait({Timeline::kCopy, 1});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(reached);
    device.signal();
    waiter.join();
    device.wait(first);
    EXPECT_EQ(device.last(Timeline::kHostSignals), (Point{Timeline::kHostSignals, 2}));
    EXPECT_EQ(device.last(Timeline::kCompute), second);
}

TEST(SimDevice, NothingRunsBeforeFlush) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    run.device().begin_step();
    const Point point = run.device().submit(ProgramId{0}, Waits{});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(run.device().counts().operations, 0u);
    EXPECT_EQ(error_of([&] { run.device().begin_step(); }), ErrorCode::kUsage);
    run.device().flush();
    run.device().wait(point);
    EXPECT_EQ(run.device().counts().operations, run.layer().mixer.size());
}

TEST(SimDevice, CopiesArrive) {
    for (const auto arithmetic : {sim::Arithmetic::kRun, sim::Arithmetic::kSkip}) {
        Ledger ledger;
        auto options = little_options();
        options.arithmetic = arithmetic;
        const auto device = sim::make_sim_device(options, ledger);
        const std::size_t large = 100 * 1024;
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, large + 8);
        const std::vector<std::byte> from(large, std::byte{7});
        const CopyRegion regions[] = {{block.address(), from.data(), large}, {block.address() + large, from.data(), 8}};
        device->wait(device->copy(regions, Waits{}));
        std::vector<std::byte> back(large + 8);
        device->download(back, block.address());
        // Where arithmetic is skipped, large copies are too: nothing reads weights.
        EXPECT_EQ(back.front(), arithmetic == sim::Arithmetic::kRun ? std::byte{7} : std::byte{0});
        EXPECT_EQ(back.back(), std::byte{7});
    }
}

TEST(SimDevice, MisuseIsAnErrorAndNotTheEnd) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    sim::SimDevice& device = run.device();
    std::vector<std::byte> host(64);
    const DeviceBlock block = device.allocate(MemoryKind::kOwn, Purpose::kExperts, 64);
    const CopyRegion beyond{block.address() + 1, host.data(), 64}, elsewhere{host.data(), host.data(), 64};
    EXPECT_EQ(error_of([&] { device.copy(std::span(&beyond, 1), Waits{}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device.upload(std::span(&elsewhere, 1)); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device.download(host, block.address() + 1); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device.submit(ProgramId{99}, Waits{}); }), ErrorCode::kUsage);
    const Program program = device.record(run.layer().output, run.layer().step);
    const Point later{Timeline::kCompute, device.last(Timeline::kCompute).value + 1};
    EXPECT_EQ(error_of([&] { device.submit(program, std::span(&later, 1)); }), ErrorCode::kUsage);
    run.layer().set_step(0, LittleLayer::kBatch + 1);
    EXPECT_EQ(error_of([&] { device.begin_step(); }), ErrorCode::kUsage);
    run.layer().set_step(LittleLayer::kContext, 1);
    EXPECT_EQ(error_of([&] { device.begin_step(); }), ErrorCode::kUsage);
    EXPECT_EQ(run.step(0, 2).size(), 2 * LittleLayer::kVocab);
}

TEST(SimDevice, TheLimitsOfADeviceHold) {
    Ledger ledger;
    auto options = little_options();
    options.device = {.largest_block = {1 << 20}, .copies_beside_work = false};
    SimRun run(options, ledger);
    sim::SimDevice& device = run.device();
    EXPECT_EQ(error_of([&] { device.allocate(MemoryKind::kOwn, Purpose::kExperts, (1 << 20) + 1); }),
              ErrorCode::kShortfall);
    device.wait(device.copy({}, Waits{}));
    device.begin_step();
    device.submit(ProgramId{0}, Waits{});
    EXPECT_EQ(error_of([&] { device.copy({}, Waits{}); }), ErrorCode::kUsage);
    device.flush();
    static_cast<Backend&>(device).wait();
    device.wait(device.copy({}, Waits{}));
}

TEST(SimDevice, StepParametersAreThoseOfBeginStep) {
    Ledger ledger;
    SimRun one(little_options(), ledger), other(little_options(), ledger);
    const std::vector<float> expected = one.step(0, 3);
    sim::SimDevice& device = other.device();
    other.layer().set_step(0, 3);
    device.begin_step();
    other.layer().set_step(5, 8);  // the next step's parameters, written meanwhile
    other.layer().step.token_ids = nullptr;
    const Point point = device.submit(ProgramId{0}, Waits{});
    device.flush();
    device.wait(point);
    device.finish_step();
    std::vector<std::int32_t> ids(3 * LittleLayer::kUsed), expected_ids(ids);
    device.download(std::as_writable_bytes(std::span(ids)),
                    reinterpret_cast<const std::byte*>(other.layer().choice.ids));
    one.device().download(std::as_writable_bytes(std::span(expected_ids)),
                          reinterpret_cast<const std::byte*>(one.layer().choice.ids));
    EXPECT_EQ(ids, expected_ids);
}

TEST(SimDevice, AnEditedExpertTableFailsTheStep) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    run.step(0, 2);
    run.layer().table.set({LayerId{0}, 7}, {kHost});
    run.step(2, 1);  // between steps: fine
    run.layer().set_step(3, 1);
    run.device().begin_step();
    run.layer().table.set({LayerId{0}, 7}, {kHost});
    run.device().submit(ProgramId{0}, Waits{});
    const Point point = run.device().submit(ProgramId{1}, Waits{});
    run.device().flush();
    EXPECT_EQ(error_of([&] { run.device().wait(point); }), ErrorCode::kDeviceLost);
}

TEST(SimDevice, EndsWithStuckWork) {
    Ledger ledger;
    {
        SimRun run(little_options(), ledger);
        run.device().begin_step();
        run.device().submit(ProgramId{0}, Waits{{Timeline::kHostSignals, 9}});
        run.device().submit(ProgramId{1}, Waits{});
        run.device().copy({}, Waits{{Timeline::kHostSignals, 9}});
        run.device().flush();
    }
    EXPECT_EQ(ledger.total(DeviceId{1}).value, 0u);
}

TEST(SimDevice, AWarmStepAllocatesNothing) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    for (std::uint32_t position = 0; position < 8; ++position) run.step(position, 1);
    sim::SimDevice& device = run.device();
    run.layer().set_step(8, 1);
    const Waits waits{{Timeline::kCopy, device.last(Timeline::kCopy).value + 1},
                      {Timeline::kHostSignals, device.last(Timeline::kHostSignals).value + 1}};
    const CopyRegion region{run.layer().slots, run.layer().staged_bytes[0].data(), 8};
    const AllocationCounter counter;
    device.begin_step();
    device.submit(ProgramId{0}, Waits{});
    device.submit(ProgramId{1}, Waits{});
    const Point done = device.submit(ProgramId{2}, waits);
    device.flush();
    device.copy(std::span(&region, 1), {});
    device.host_worked({.after = {}, .done = waits[1], .operations = {}, .seconds = 1});
    device.signal();
    device.wait(done);
    device.finish_step();
    EXPECT_EQ(counter.calls(), 0u);
}

// By hand, from the layer's shapes and little_options(): 11 operations of the mixer, 1, and 5 of the output.
TEST(SimDevice, VirtualTimeOfAStep) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    run.step(0, 1);
    const auto events = run.device().events();
    const auto total = [&](Timeline lane) {
        double sum = 0;
        for (const VirtualEvent& event : events)
            if (event.lane == lane) sum += event.end - event.start;
        return sum;
    };
    std::vector<std::int32_t> ids(LittleLayer::kUsed);
    run.device().download(std::as_writable_bytes(std::span(ids)),
                          reinterpret_cast<const std::byte*>(run.layer().choice.ids));
    const double expert = (2 * 96 * 36 + 64 * 102) * 1e-9;
    const auto n_here = std::ranges::count_if(ids, [](std::int32_t id) { return id < 6; });
    const double mixer =
        11 * 4e-6 + (64 * 36 + 32 * 68 + 32 * 128) * 1e-9 + (64 + 34) * 2e-9 + 192 * 36 * 1e-9 + 8 * 256 * 1e-9;
    const double rest = 6 * 4e-6 + 50 * 256 * 1e-9 + static_cast<double>(n_here) * expert;
    EXPECT_NEAR(total(Timeline::kCompute), mixer + rest, 1e-15);
    const double copy = 8e-6 + 2 * static_cast<double>(run.layer().slot_bytes) * 1e-10;
    EXPECT_NEAR(total(Timeline::kCopy), copy, 1e-15);
    EXPECT_NEAR(total(Timeline::kHostSignals), 30e-6, 1e-15);
    // The output waits for the host: half a handshake to start, one there and back, half to see the end.
    double of_output = 0;
    for (const VirtualEvent& event : events)
        if (event.lane == Timeline::kCompute && event.program == 2) of_output += event.end - event.start;
    EXPECT_NEAR(run.device().step_seconds(), 5e-6 + mixer + 5e-6 + 30e-6 + 5e-6 + of_output + 5e-6, 1e-15);
}

TEST(SimDevice, VirtualTimeRepeatsExactlyAndNeedsNoArithmetic) {
    std::vector<double> first;
    for (int repetition = 0; repetition < 4; ++repetition) {
        Ledger ledger;
        auto options = little_options();
        if (repetition == 3) options.arithmetic = sim::Arithmetic::kSkip;
        SimRun run(options, ledger);
        std::vector<std::int32_t> forced(LittleLayer::kBatch * LittleLayer::kUsed);
        for (std::size_t i = 0; i < forced.size(); ++i) forced[i] = static_cast<std::int32_t>(i * 3 % 8);
        run.layer().step.forced_experts = forced.data();
        std::vector<double> times;
        for (std::uint32_t position = 0; position < 20; position += 5) {
            run.step(position, 5);
            times.push_back(run.device().step_seconds());
            for (const VirtualEvent& event : run.device().events()) times.push_back(event.end);
        }
        if (repetition == 0) first = times;
        EXPECT_EQ(times, first) << repetition;
    }
}

TEST(SimDevice, SkippedArithmeticRoutesAsForcedAndTakesTheSameMemory) {
    Ledger ledger, other_ledger;
    auto options = little_options();
    SimRun with(options, ledger);
    options.arithmetic = sim::Arithmetic::kSkip;
    SimRun without(options, other_ledger);
    EXPECT_EQ(with.device().peak(), without.device().peak());
    const std::vector<std::int32_t> forced{5, 1, 7, 0};
    without.layer().step.forced_experts = forced.data();
    without.step(0, 2);
    std::vector<std::int32_t> ids(4);
    std::vector<float> weights(4);
    without.device().download(std::as_writable_bytes(std::span(ids)),
                              reinterpret_cast<const std::byte*>(without.layer().choice.ids));
    without.device().download(std::as_writable_bytes(std::span(weights)),
                              reinterpret_cast<const std::byte*>(without.layer().choice.weights));
    EXPECT_EQ(ids, forced);
    EXPECT_EQ(weights, std::vector<float>(4, 0.5f));
}

TEST(SimDevice, ReservesMoreThanTheMachineHas) {
    Ledger ledger;
    auto options = little_options();
    options.budget = {std::uint64_t{2} << 40};
    options.arithmetic = sim::Arithmetic::kSkip;
    const auto device = sim::make_sim_device(options, ledger);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, std::size_t{1} << 40);
    EXPECT_EQ(device->allocated().value, (std::uint64_t{1} << 40) + (1 << 20));
}

}  // namespace
}  // namespace lfm::test
