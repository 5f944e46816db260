// Streams run in order, wait for flags, are captured and replayed, and fail once the device is lost.
#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "backends/gpu/platform/kernel.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {

namespace {

struct StepPush {
    std::uint32_t* value;
    std::uint32_t factor, more;
};
/// The value that it leaves shows the order of the launches.
void step(StepPush push) {
    if (thread_index() == 0) *push.value = *push.value * push.factor + push.more;
}

struct FlagPush {
    std::uint64_t* flag;
    std::uint64_t value;
};
void wait_for_flag(FlagPush push) {
    if (thread_index() != 0) return;
    while (load_flag(push.flag) < push.value) pause();
    fence_system();
}
void raise_flag(FlagPush push) {
    if (thread_index() != 0) return;
    fence_system();
    store_flag(push.flag, push.value);
}

const Kernel kStep = make_kernel("step", step, 64);
const Kernel kWait = make_kernel("wait_for_flag", wait_for_flag, 64);
const Kernel kRaise = make_kernel("raise_flag", raise_flag, 64);

struct NothingPush {
    std::uint32_t none;
};
void leave_barrier(NothingPush) {
    if (thread_index() < 64) sync_group();
}

}  // namespace

class StreamsTest : public MachineTest {
protected:
    void SetUp() override {
        MachineTest::SetUp();
        void* memory = nullptr;
        ASSERT_EQ(api::allocate_pinned(&memory, sizeof(std::uint64_t)), Status::kSuccess);
        flag_ = static_cast<std::uint64_t*>(memory);
        *flag_ = 0;
        ASSERT_EQ(api::create_stream(&other_), Status::kSuccess);
    }
    void TearDown() override {
        store_flag(flag_, ~std::uint64_t{0});
        api::destroy_stream(other_);
        api::synchronize_stream(stream());
        api::release_pinned(flag_);
        MachineTest::TearDown();
    }

    Status add_step(std::uint32_t* value, std::uint32_t factor, std::uint32_t more) {
        const StepPush push{value, factor, more};
        return api::launch(kStep, {}, &push, stream());
    }
    Status add(const Kernel& kernel, std::uint64_t value, api::Stream to) {
        const FlagPush push{flag_, value};
        return api::launch(kernel, {}, &push, to);
    }
    std::uint64_t* flag() const { return flag_; }
    api::Stream other() const { return other_; }

private:
    std::uint64_t* flag_ = nullptr;
    api::Stream other_ = nullptr;
};

TEST_F(StreamsTest, WorkRunsInOrder) {
    const DeviceArray<std::uint32_t> value(1, 1);
    std::uint32_t between = 0, after = 0;
    EXPECT_EQ(add_step(value.data(), 10, 2), Status::kSuccess);
    EXPECT_EQ(api::copy(&between, value.data(), 4, stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 10, 3), Status::kSuccess);
    EXPECT_EQ(api::copy(&after, value.data(), 4, stream()), Status::kSuccess);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(between, 12u);
    EXPECT_EQ(after, 123u);
    EXPECT_EQ(emulation::counts().launches, 2u);
    EXPECT_EQ(emulation::counts().copies, 2u);
}

TEST_F(StreamsTest, TheHostReleasesAKernelThatWaits) {
    const DeviceArray<std::uint32_t> value(1, 1);
    EXPECT_EQ(add(kWait, 3, stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 1, 1), Status::kSuccess);
    store_flag(flag(), 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(api::query_stream(stream()), Status::kNotReady);
    store_flag(flag(), 3);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(api::query_stream(stream()), Status::kSuccess);
    EXPECT_EQ(value[0], 2u);
}

TEST_F(StreamsTest, AnotherStreamReleasesAKernelThatWaits) {
    EXPECT_EQ(add(kWait, 1, stream()), Status::kSuccess);
    EXPECT_EQ(add(kRaise, 1, other()), Status::kSuccess);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(api::synchronize_device(), Status::kSuccess);
    EXPECT_EQ(load_flag(flag()), 1u);
}

TEST_F(StreamsTest, ACaptureRunsNothingAndAGraphAllInOrder) {
    const DeviceArray<std::uint32_t> value(1, 1), copied(1, 0);
    ASSERT_EQ(api::begin_capture(stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 10, 2), Status::kSuccess);
    EXPECT_EQ(api::copy(copied.data(), value.data(), 4, stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 10, 3), Status::kSuccess);
    api::Graph graph{};
    api::GraphExec exec{};
    ASSERT_EQ(api::end_capture(stream(), &graph), Status::kSuccess);
    ASSERT_EQ(api::instantiate(&exec, graph), Status::kSuccess);
    ASSERT_EQ(api::destroy_graph(graph), Status::kSuccess);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(value[0], 1u);

    EXPECT_EQ(api::launch(exec, stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 1, 1), Status::kSuccess);
    EXPECT_EQ(api::launch(exec, stream()), Status::kSuccess);
    EXPECT_EQ(api::destroy(exec), Status::kSuccess) << "waits";
    EXPECT_EQ(value[0], 12423u);
    EXPECT_EQ(copied[0], 1242u);
    EXPECT_EQ(emulation::counts().graph_launches, 2u);
}

TEST_F(StreamsTest, WhatACaptureDoesNotAllowIsRefused) {
    ASSERT_EQ(api::begin_capture(stream()), Status::kSuccess);
    void* memory = nullptr;
    EXPECT_EQ(api::allocate(&memory, 10), Status::kStreamCaptureUnsupported);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kStreamCaptureUnsupported);
    EXPECT_EQ(api::query_stream(stream()), Status::kStreamCaptureUnsupported);
    EXPECT_EQ(api::synchronize_device(), Status::kStreamCaptureUnsupported);
    EXPECT_EQ(api::begin_capture(stream()), Status::kStreamCaptureUnsupported);
    api::Graph graph{};
    EXPECT_EQ(api::end_capture(stream(), &graph), Status::kSuccess);
    EXPECT_EQ(api::destroy_graph(graph), Status::kSuccess);
    EXPECT_EQ(api::end_capture(stream(), &graph), Status::kInvalidValue);
    EXPECT_EQ(emulation::take_reports().size(), 6u);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
}

TEST_F(StreamsTest, AFailedKernelStaysAndDropsWhatIsQueued) {
    const DeviceArray<std::uint32_t> value(1, 1);
    const NothingPush none{};
    EXPECT_EQ(add(kWait, 1, stream()), Status::kSuccess);  // so that all is queued before it fails
    EXPECT_EQ(api::launch(make_kernel("leave_barrier", leave_barrier, 128), {}, &none, stream()), Status::kSuccess);
    std::uint32_t copied = 7;
    EXPECT_EQ(add_step(value.data(), 1, 1), Status::kSuccess);
    EXPECT_EQ(api::copy(&copied, value.data(), sizeof copied, stream()), Status::kSuccess);
    store_flag(flag(), 1);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kLaunchFailure);
    expect_only_report({"kernel leave_barrier", "divergent barrier"});
    EXPECT_EQ(value[0], 1u);
    EXPECT_EQ(copied, 7u);

    api::forget_error();
    std::size_t free = 0, total = 0;
    void* memory = nullptr;
    EXPECT_EQ(api::query_stream(stream()), Status::kLaunchFailure);
    EXPECT_EQ(api::query_stream(other()), Status::kLaunchFailure) << "all streams of the device";
    EXPECT_EQ(add_step(value.data(), 1, 1), Status::kLaunchFailure);
    EXPECT_EQ(api::copy(value.data(), &total, 4, stream()), Status::kLaunchFailure);
    EXPECT_EQ(api::allocate(&memory, 1), Status::kLaunchFailure);
    EXPECT_EQ(api::memory_info(&free, &total), Status::kLaunchFailure);
    EXPECT_STREQ(api::error_name(Status::kLaunchFailure), "LaunchFailure");
}

TEST_F(StreamsTest, ALostDeviceEndsKernelsThatWait) {
    const DeviceArray<std::uint32_t> value(1, 1);
    EXPECT_EQ(add(kWait, 1, stream()), Status::kSuccess);
    EXPECT_EQ(add_step(value.data(), 1, 1), Status::kSuccess);
    EXPECT_EQ(api::query_stream(stream()), Status::kNotReady);
    emulation::lose_device(Status::kIllegalAddress);
    EXPECT_EQ(api::synchronize_stream(stream()), Status::kIllegalAddress);
    emulation::reset_machine();
    while (api::query_stream(stream()) == Status::kNotReady) std::this_thread::yield();
    EXPECT_EQ(value[0], 1u);
}

TEST_F(StreamsTest, TheDeviceIsLostAtACallOnDemand) {
    const std::uint64_t calls = emulation::counts().calls;
    emulation::set_faults({.lose_at_call = calls + 2});
    EXPECT_EQ(api::query_stream(stream()), Status::kSuccess);
    EXPECT_EQ(api::query_stream(stream()), Status::kLaunchFailure);
    EXPECT_EQ(api::query_stream(stream()), Status::kLaunchFailure);
    emulation::reset_machine();
    EXPECT_EQ(api::query_stream(stream()), Status::kSuccess);
}

TEST_F(StreamsTest, AMachineMayHaveNoDevice) {
    emulation::reset_machine({.n_devices = 0});
    int n = -1;
    EXPECT_EQ(api::count_devices(&n), Status::kNoDevice);
    EXPECT_EQ(n, 0);
    EXPECT_EQ(api::set_device(0), Status::kInvalidDevice);
    api::Stream none{};
    EXPECT_EQ(api::create_stream(&none), Status::kNoDevice);
    emulation::reset_machine();
    EXPECT_EQ(api::count_devices(&n), Status::kSuccess);
    EXPECT_EQ(n, 1);
    EXPECT_EQ(api::set_device(0), Status::kSuccess);
}

TEST_F(StreamsTest, StreamsThatAreGoneAreRefused) {
    api::Stream gone{};
    ASSERT_EQ(api::create_stream(&gone), Status::kSuccess);
    ASSERT_EQ(api::destroy_stream(gone), Status::kSuccess);
    EXPECT_EQ(api::synchronize_stream(gone), Status::kInvalidValue);
    EXPECT_EQ(api::destroy_stream(gone), Status::kInvalidValue);
    EXPECT_EQ(api::query_stream(nullptr), Status::kInvalidValue);
    EXPECT_EQ(emulation::take_reports().size(), 3u);
}

TEST_F(StreamsTest, AFullQueueBlocksItsCallerAndEveryOtherCall) {
    const FlagPush wait{flag(), 1};
    ASSERT_EQ(api::launch(kWait, {}, &wait, stream()), Status::kSuccess);
    const DeviceArray<std::uint32_t> value(1, 0);
    std::atomic<int> n_launched = 1;
    std::atomic<bool> asked = false;
    std::thread launcher([&] {
        const StepPush push{value.data(), 1, 1};
        for (int i = 0; i < 1005; ++i) {
            EXPECT_EQ(api::launch(kStep, {}, &push, stream()), Status::kSuccess);
            ++n_launched;
        }
    });
    while (n_launched < 1000) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(n_launched, 1000);
    std::thread other([&] {
        std::size_t free = 0, total = 0;
        EXPECT_EQ(api::memory_info(&free, &total), Status::kSuccess);
        asked = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(asked) << "it stands behind the launch";
    store_flag(flag(), 1);
    launcher.join();
    other.join();
    ASSERT_EQ(api::synchronize_stream(stream()), Status::kSuccess);
    EXPECT_EQ(value[0], 1005u);
    EXPECT_EQ(emulation::counts().most_waiting, 1001u);
}

}  // namespace lfm::gpu::test
