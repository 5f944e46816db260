// Kernels that start while the previous one still runs: the mistakes that the emulation must find.
#include <gtest/gtest.h>

#include "backends/gpu/platform/kernel.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {

namespace {

constexpr std::uint32_t kThreads = 128;

struct Push {
    const std::uint32_t* in;
    std::uint32_t* out;
    std::uint64_t* flag;
};

void add_one(Push push) {
    begin_kernel();
    push.out[thread_index()] = push.in[thread_index()] + 1;
}

void read_too_early(Push push) {
    const std::uint32_t value = push.in[thread_index()];
    await_earlier();
    push.out[thread_index()] = value + 1;
}

void write_too_early(Push push) {
    push.out[thread_index()] = 1;
    await_earlier();
}

void never_wait(Push push) { push.out[thread_index()] = push.in[thread_index()] + 1; }

void not_all_wait(Push push) {
    if (thread_index() >= 64) return;
    await_earlier();
    push.out[thread_index()] = 1;
}

/// Like the kernel that waits for the host, except that it lets the next kernel start.
void let_start_and_wait(Push push) {
    begin_kernel();
    while (load_flag(push.flag) == 0) pause();
}

class EarlyStart : public MachineTest {
protected:
    Status launch(void (*kernel)(Push), Start start) {
        const Push push{in_.data(), out_.data(), flag_.data()};
        const GroupCounts groups{2, 1, 1};
        const Status status = api::launch(make_kernel("planted", kernel, kThreads), groups, &push, stream(), start);
        return status == api::kSuccess ? api::synchronize_stream(stream()) : status;
    }

    DeviceArray<std::uint32_t> in_{kThreads, 7}, out_{kThreads, 0};
    DeviceArray<std::uint64_t> flag_{1, 1};
};

TEST_F(EarlyStart, SeesWhatEarlierKernelsWrote) {
    ASSERT_EQ(launch(add_one, Start::kEarly), api::kSuccess);
    EXPECT_EQ(out_.values(), std::vector<std::uint32_t>(kThreads, 8));
}

TEST_F(EarlyStart, IsTheCallersChoice) {
    EXPECT_EQ(launch(never_wait, Start::kInTurn), api::kSuccess);
    EXPECT_EQ(launch(read_too_early, Start::kInTurn), api::kSuccess);
}

TEST_F(EarlyStart, FindsAReadBeforeTheWait) {
    if (kHasSanitizer) GTEST_SKIP() << "sanitizers keep signals to themselves";
    EXPECT_EQ(launch(read_too_early, Start::kEarly), Status::kIllegalAddress);
    expect_only_report({"planted", "before it waits for the kernels before it", "byte 0 of an allocation of 512"});
}

TEST_F(EarlyStart, FindsAWriteBeforeTheWait) {
    if (kHasSanitizer) GTEST_SKIP() << "sanitizers keep signals to themselves";
    EXPECT_EQ(launch(write_too_early, Start::kEarly), Status::kIllegalAddress);
    expect_only_report({"planted", "before it waits for the kernels before it"});
    EXPECT_EQ(out_.values(), std::vector<std::uint32_t>(kThreads, 0));
}

TEST_F(EarlyStart, FindsAKernelThatNeverWaits) {
    if (kHasSanitizer) GTEST_SKIP() << "sanitizers keep signals to themselves";
    EXPECT_NE(launch(never_wait, Start::kEarly), api::kSuccess);
    expect_only_report({"planted", "before it waits for the kernels before it"});
}

TEST_F(EarlyStart, FindsThreadsThatDoNotWait) {
    EXPECT_EQ(launch(not_all_wait, Start::kEarly), Status::kLaunchFailure);
    expect_only_report({"planted", "waiting for the kernels before it", "returned"});
}

TEST_F(EarlyStart, FindsAKernelThatWaitsForOthersWhileTheNextOneMayStart) {
    flag_[0] = 0;
    EXPECT_EQ(launch(let_start_and_wait, Start::kEarly), Status::kLaunchFailure);
    expect_only_report({"planted", "which waits for others"});
}

/// Memory that is hidden from a kernel that starts early is not hidden from the copies of another stream.
TEST_F(EarlyStart, LetsCopiesOfOtherStreamsWait) {
    api::Stream other{};
    ASSERT_EQ(api::create_stream(&other), api::kSuccess);
    DeviceArray<std::byte> to(1 << 16), from(1 << 16, std::byte{3});
    const Push push{in_.data(), out_.data(), flag_.data()};
    for (int i = 0; i < 200; ++i) {
        ASSERT_EQ(api::launch(make_kernel("add_one", add_one, kThreads), {2, 1, 1}, &push, stream(), Start::kEarly),
                  api::kSuccess);
        ASSERT_EQ(api::copy(to.data(), from.data(), 1 << 16, other), api::kSuccess);
    }
    EXPECT_EQ(api::synchronize_stream(stream()), api::kSuccess);
    EXPECT_EQ(api::destroy_stream(other), api::kSuccess);
    EXPECT_EQ(to[100], std::byte{3});
}

/// A driver may refuse these calls during a capture.
TEST_F(EarlyStart, KernelsAreLoadedBeforeACapture) {
    const Kernel kernel = make_kernel("add_one", add_one, kThreads);
    EXPECT_EQ(api::load(kernel), api::kSuccess);
    ASSERT_EQ(api::begin_capture(stream()), api::kSuccess);
    int n = 0;
    EXPECT_EQ(api::load(kernel), Status::kStreamCaptureUnsupported);
    EXPECT_EQ(api::groups_at_once(&n, kernel), Status::kStreamCaptureUnsupported);
    api::Graph graph{};
    EXPECT_EQ(api::end_capture(stream(), &graph), api::kSuccess);
    EXPECT_EQ(api::destroy_graph(graph), api::kSuccess);
    EXPECT_EQ(emulation::take_reports().size(), 2u);
}

}  // namespace

}  // namespace lfm::gpu::test
