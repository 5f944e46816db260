// Each fault in turn, at every place of a scripted run: the right error, no crash, no hang, no leak.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <thread>

#include "tests/backends/sim/sim_run.h"

namespace lfm::test {
namespace {

struct Outcome {
    std::optional<ErrorCode> error;
    std::vector<float> logits;
    sim::SimCounts counts;
    double seconds = 0;
};

/// Three steps, the first of many tokens.
Outcome run_script(const sim::SimFaults& faults, Ledger& ledger) {
    Outcome outcome;
    auto options = little_options();
    options.faults = faults;
    auto owned = sim::make_sim_device(options, ledger);
    sim::SimDevice& device = *owned;
    std::optional<SimRun> run;
    outcome.error = error_of([&] {
        run.emplace(std::move(owned));
        for (const auto& [position, n] : {std::pair{0u, 4u}, {4u, 1u}, {5u, 1u}}) {
            for (const float logit : run->step(position, n)) outcome.logits.push_back(logit);
            outcome.seconds += device.step_seconds();
        }
    });
    if (run) outcome.counts = device.counts();
    return outcome;
}

TEST(SimFaults, EveryAllocationRefused) {
    Ledger ledger;
    const Outcome sound = run_script({}, ledger);
    ASSERT_EQ(sound.error, std::nullopt);
    ASSERT_GT(sound.counts.allocations, 20u);
    for (const auto recurrence : {sim::Recurrence::kOnce, sim::Recurrence::kForGood})
        for (std::uint64_t n = 1; n <= sound.counts.allocations; ++n) {
            const Outcome outcome = run_script({.refuse_allocation = n, .refusal = recurrence}, ledger);
            EXPECT_EQ(outcome.error, ErrorCode::kShortfall) << n;
            EXPECT_EQ(ledger.total(DeviceId{1}).value, 0u) << n;
        }
    EXPECT_EQ(run_script({.refuse_allocation = sound.counts.allocations + 1}, ledger).logits, sound.logits);
}

TEST(SimFaults, ARefusalOnceIsOverAndForGoodIsNot) {
    Ledger ledger;
    auto options = little_options();
    options.faults.refuse_allocation = 1;
    const auto device = sim::make_sim_device(options, ledger);
    const auto allocate = [&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 1); };
    EXPECT_EQ(error_of(allocate), ErrorCode::kShortfall);
    EXPECT_EQ(error_of(allocate), std::nullopt);
    device->inject({.refuse_allocation = 3, .refusal = sim::Recurrence::kForGood});
    EXPECT_EQ(error_of(allocate), ErrorCode::kShortfall);
    EXPECT_EQ(error_of(allocate), ErrorCode::kShortfall);
    EXPECT_EQ(device->counts().allocations, 4u);
}

TEST(SimFaults, LostAtEveryCall) {
    Ledger ledger;
    const Outcome sound = run_script({}, ledger);
    ASSERT_GT(sound.counts.calls, 60u);
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t n = 1; n <= sound.counts.calls; ++n) {
        const Outcome outcome = run_script({.lose_at_call = n}, ledger);
        EXPECT_EQ(outcome.error, ErrorCode::kDeviceLost) << n;
        EXPECT_EQ(ledger.total(DeviceId{1}).value, 0u) << n;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    EXPECT_EQ(run_script({.lose_at_call = sound.counts.calls + 1}, ledger).logits, sound.logits);
}

TEST(SimFaults, ALostDeviceStaysLost) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    sim::SimDevice& device = run.device();
    run.step(0, 1);
    const DeviceBlock block = device.allocate(MemoryKind::kOwn, Purpose::kExperts, 64);
    std::vector<std::byte> host(64);
    const Operation add = AddArgs{};
    const Point stuck = {Timeline::kHostSignals, 99};
    std::optional<ErrorCode> of_waiter;
    std::thread waiter([&] { of_waiter = error_of([&] { device.wait(stuck); }); });
    device.inject({.lose_at_call = device.counts().calls + 4});
    for (int i = 0; i < 5; ++i) device.signal();  // throws nothing
    waiter.join();
    EXPECT_EQ(of_waiter, ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.allocate(MemoryKind::kOwn, Purpose::kExperts, 1); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.record(std::span(&add, 1), run.layer().step); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.upload({}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.download(host, block.address()); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.begin_step(); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.submit(ProgramId{0}, std::span<const Point>{}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.flush(); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.copy({}, {}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.wait(Point{}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { device.finish_step(); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { static_cast<Backend&>(device).wait(); }), ErrorCode::kDeviceLost);
    EXPECT_GT(device.peak().value, 0u);
}

TEST(SimFaults, SlowCopiesTakeVirtualTimeOnly) {
    Ledger ledger;
    const Outcome sound = run_script({}, ledger), slow = run_script({.copy_slowdown = 1000}, ledger);
    EXPECT_EQ(slow.logits, sound.logits);
    EXPECT_GT(slow.seconds, sound.seconds + 3 * 900 * 8e-6);
}

TEST(SimFaults, AShrunkBudgetKeepsWhatIsThere) {
    Ledger ledger;
    SimRun run(little_options(), ledger);
    sim::SimDevice& device = run.device();
    device.inject({.shrink_at_step = 2, .shrunk_budget = {1 << 19}});
    const auto first = run.step(0, 2);
    EXPECT_EQ(device.budget().value, 4u << 20);
    { const DeviceBlock fits = device.allocate(MemoryKind::kOwn, Purpose::kExperts, 1); }
    const Bytes before = device.allocated();
    EXPECT_EQ(run.step(0, 2), first);
    EXPECT_EQ(device.budget().value, 1u << 19);
    EXPECT_EQ(device.allocated(), before);
    EXPECT_EQ(error_of([&] { device.allocate(MemoryKind::kOwn, Purpose::kExperts, 1); }), ErrorCode::kShortfall);
}

TEST(SimFaults, NaNInEveryOperation) {
    Ledger ledger;
    const Outcome sound = run_script({}, ledger);
    ASSERT_EQ(sound.counts.operations, 3u * 16);
    for (std::uint64_t n = 1; n <= sound.counts.operations; ++n) {
        const Outcome outcome = run_script({.nan_in_operation = n}, ledger);
        EXPECT_EQ(outcome.error, std::nullopt) << n;
        const std::size_t n_nan = static_cast<std::size_t>(
            std::ranges::count_if(outcome.logits, [](float value) { return std::isnan(value); }));
        // 8-bit activations and caches turn NaN into 0; the layer has a way past them from every operation.
        EXPECT_GT(n_nan, 0u) << n;
        // Steps before it are sound.
        const std::size_t logits_before = n <= 16 ? 0 : (n <= 32 ? 4 : 5) * LittleLayer::kVocab;
        EXPECT_TRUE(std::equal(sound.logits.begin(), sound.logits.begin() + static_cast<std::ptrdiff_t>(logits_before),
                               outcome.logits.begin()))
            << n;
    }
}

}  // namespace
}  // namespace lfm::test
