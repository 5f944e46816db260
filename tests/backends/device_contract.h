// The contract of device.h that every real device keeps: work submitted ahead, points, copies, misuse, destruction at
// any time. A test program includes this once and instantiates it with its device.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "tests/backends/device_work.h"
#include "tests/backends/step_sequence.h"

namespace lfm::test {

inline constexpr BackendLimits kContractLimits{.n_batch = 8, .n_ctx = 64};
inline constexpr Bytes kContractBudget{std::uint64_t{64} << 20};

struct ContractDevice {
    /// With kContractLimits and kContractBudget.
    std::unique_ptr<Device> (*open)(Ledger& ledger);
    std::string (*absence)();  // why there is none; empty: there is one
};

class DeviceContract : public testing::TestWithParam<ContractDevice> {
protected:
    static constexpr DeviceId kSelf{1};
    static constexpr BackendLimits kLimits = kContractLimits;

    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
    }
    static std::unique_ptr<Device> device(Ledger& ledger) { return GetParam().open(ledger); }
};

TEST_P(DeviceContract, MisuseIsAnErrorAndNotTheEnd) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    std::vector<std::byte> host(64);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 64);
    const CopyRegion beyond{block.address() + 1, host.data(), 64}, elsewhere{host.data(), host.data(), 64};
    EXPECT_EQ(error_of([&] { device->copy(std::span(&beyond, 1), {}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->upload(std::span(&elsewhere, 1)); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->download(host, block.address() + 1); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->submit(ProgramId{99}, Waits{}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->submit(work.program, Waits{{Timeline::kCompute, 7}}); }), ErrorCode::kUsage);
    work.step.n_tokens = kLimits.n_batch + 1;
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    work.step = {.n_tokens = 1};
    StepSequence sequence;
    follow(work.step, sequence, kLimits.n_ctx);
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    work.step.n_tokens = 2;
    const StepSequence two[] = {{.n_rows = 1}, {.first_row = 1, .n_rows = 1}};
    for (const std::size_t n : {1u, 2u}) {  // the first has not all rows; two are more than the limit
        work.step.sequences = std::span(two).first(n);
        EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    }
    const std::uint32_t beyond_the_step = 2;
    work.step = {.n_tokens = 2, .n_outputs = 1, .output_rows = &beyond_the_step};
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    work.step = {.n_tokens = 1};
    device->begin_step();
    device->submit(work.program, {});
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 2);
    EXPECT_EQ(device->copy({}, {}), (Point{Timeline::kCopy, 1})) << "a refused copy takes no point";
}

TEST_P(DeviceContract, AStepIsSubmittedAheadAndMeetsTheHostAtPoints) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    constexpr std::uint32_t kPrograms = 39;
    for (std::uint32_t step = 0; step < 3; ++step) {
        work.set(1);
        work.step.n_tokens = 1 + step % 2;
        device->begin_step();
        const std::uint64_t host = device->last(Timeline::kHostSignals).value;
        std::vector<Point> points;
        for (std::uint32_t i = 0; i < kPrograms; ++i)
            points.push_back(device->submit(work.program, Waits{{Timeline::kHostSignals, host + i + 1}}));
        device->flush();
        double expected = 1;
        for (std::uint32_t i = 0; i < kPrograms; ++i) {
            ASSERT_EQ(points[i], (Point{Timeline::kCompute, step * kPrograms + i + 1}));
            // What the host writes before it signals is what the program reads.
            work.host()[0] += 1;
            expected = 2 * (expected + 1);
            device->signal();
            device->wait(points[i]);
            ASSERT_EQ(work.host()[0], static_cast<float>(expected)) << i;
        }
        EXPECT_EQ(work.host()[Doubling::kCols - 1], std::ldexp(1.0f, kPrograms));
        EXPECT_EQ(work.host()[Doubling::kCols], step % 2 == 1 ? std::ldexp(1.0f, kPrograms) : 1.0f);
    }
}

TEST_P(DeviceContract, PointsThatNobodyWatchesAreReachedWithTheNext) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    for (std::uint32_t step = 0; step < 3; ++step) {
        work.set(1);
        work.step.n_tokens = 1 + step % 2;
        device->begin_step();
        const Point host{Timeline::kHostSignals, device->last(Timeline::kHostSignals).value + 1};
        const Point first = device->submit(work.program, {}, Watched::kNo);
        const Point watched = device->submit(work.program, {}, Watched::kYes);
        const Point last = device->submit(work.program, Waits{host}, Watched::kNo);
        device->flush();
        device->wait(watched);
        device->wait(first);
        EXPECT_EQ(work.host()[0], 4);
        device->signal();
        device->wait(last);  // the last program of a flush is always watched
        EXPECT_EQ(work.host()[0], 8);
    }
}

TEST_P(DeviceContract, WorkWaitsForCopiesThatWaitForWork) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    std::vector<float> fresh(Doubling::kCols, 10);
    const CopyRegion region{work.block.address(), reinterpret_cast<const std::byte*>(fresh.data()),
                            fresh.size() * sizeof(float)};
    for (std::uint32_t step = 0; step < 2; ++step) {
        device->begin_step();
        const Point host{Timeline::kHostSignals, step + 1};
        const Point staged{Timeline::kCopy, device->last(Timeline::kCopy).value + 2};
        const Point first = device->submit(work.program, {});
        const Point second = device->submit(work.program, Waits{staged, {Timeline::kCopy, 1}});
        device->flush();
        EXPECT_EQ(device->copy({}, {}).value, staged.value - 1);
        EXPECT_EQ(device->copy(std::span(&region, 1), Waits{first, host}), staged);
        std::atomic<bool> reached = false;
        std::thread waiter([&] {
            device->wait(second);
            reached = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_FALSE(reached);
        device->signal();
        waiter.join();
        EXPECT_EQ(work.host()[0], 20);
    }
}

TEST_P(DeviceContract, NothingRunsBeforeFlush) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    device->begin_step();
    const Point point = device->submit(work.program, {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(work.host()[0], 1);
    device->flush();
    device->flush();  // of nothing
    device->wait(point);
    EXPECT_EQ(work.host()[0], 2);
}

TEST_P(DeviceContract, ProgramsGrowWhatTheyShareAndStayRight) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    const Bytes small = ledger.total(kSelf, Purpose::kScratch);
    StepParams other{.n_tokens = 1};
    // A larger head needs more room for rotations: the first program is recorded anew.
    const DeviceBlock rows = device->allocate(MemoryKind::kOwn, Purpose::kActivations, 1 << 20);
    const RowsView x{reinterpret_cast<float*>(rows.address()), 4096};
    const float* norm = reinterpret_cast<const float*>(rows.address());
    const Operation rotate =
        QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 4096, .eps = 1e-5f};
    const Program first = device->record(std::span(&rotate, 1), work.step);
    const Program second = device->record(std::span(&rotate, 1), other);
    EXPECT_GT(ledger.total(kSelf, Purpose::kScratch), small);
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 2);

    // A recording that fails leaves the other programs as they were and keeps no memory.
    const Bytes before = device->allocated();
    const Operation huge =
        QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 1u << 26, .eps = 1e-5f};
    EXPECT_EQ(error_of([&] { device->record(std::span(&huge, 1), work.step); }), ErrorCode::kShortfall);
    EXPECT_EQ(device->allocated(), before);
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 4);
    const Operation unknown = KvAppendArgs{x, x, {nullptr, nullptr, DType::kQ4_0, DType::kF16, 1, 4096}};
    EXPECT_EQ(error_of([&] { device->record(std::span(&unknown, 1), work.step); }), ErrorCode::kUnsupportedModel);
}

TEST_P(DeviceContract, ForgottenProgramsGiveTheirMemoryBackAndLeaveTheOthersRight) {
    Ledger ledger;
    const auto device = this->device(ledger);
    const auto run_all = [&](const std::vector<const Program*>& programs) {
        device->begin_step();
        for (const Program* program : programs) device->submit(*program, {});
        device->flush();
        static_cast<Backend&>(*device).wait();
    };
    const DeviceBlock rows = device->allocate(MemoryKind::kOwn, Purpose::kActivations, 1 << 20);
    const RowsView x{reinterpret_cast<float*>(rows.address()), 4096};
    const float* norm = reinterpret_cast<const float*>(rows.address());
    const Operation rotate =
        QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 4096, .eps = 1e-5f};
    std::optional<Bytes> left;
    for (int round = 0; round < 3; ++round) {
        {
            // Two engines, each with its parameters; the first is destroyed while the second stays.
            std::optional<Doubling> first(std::in_place, *device);
            const std::vector<float> cosines(4096, 1);
            auto other = std::make_unique<StepParams>(StepParams{.n_tokens = 1, .rope = cosines.data()});
            Doubling second(*device);
            Program turn = device->record(std::span(&rotate, 1), *other);
            run_all({&first->program, &second.program, &turn});
            EXPECT_EQ(first->host()[0], 2);
            turn = Program();
            other.reset();  // nobody may read it any more
            first.reset();
            run_all({&second.program, &second.program});
            EXPECT_EQ(second.host()[0], 8);
            // A new program takes the place of a forgotten one.
            Doubling third(*device);
            run_all({&third.program, &second.program});
            EXPECT_EQ(third.host()[0], 2);
            EXPECT_EQ(second.host()[0], 16);
        }
        if (!left) left = device->allocated();
        EXPECT_EQ(device->allocated(), *left) << round;
    }
    EXPECT_EQ(error_of([&] { device->submit(ProgramId{0}, {}); }), ErrorCode::kUsage);
}

TEST_P(DeviceContract, EndsWithWorkThatNobodySignalled) {
    Ledger ledger;
    {
        const auto device = this->device(ledger);
        Doubling work(*device);
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 4096);
        const auto bytes = pattern(4096, 3);
        const CopyRegion region{block.address(), bytes.data(), bytes.size()};
        device->begin_step();
        device->submit(work.program, Waits{{Timeline::kHostSignals, 9}});
        device->submit(work.program, Waits{{Timeline::kCopy, 5}});
        device->flush();
        device->submit(work.program, {});  // never flushed
        device->copy(std::span(&region, 1), Waits{{Timeline::kHostSignals, 9}});
        device->copy(std::span(&region, 1), Waits{{Timeline::kCompute, 2}});
        // Blocks are released first, while the work that uses them is still enqueued.
    }
    EXPECT_TRUE(ledger.lines().empty());
}

}  // namespace lfm::test
