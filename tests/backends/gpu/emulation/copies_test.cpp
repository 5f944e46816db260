// Copies that bypass the registers: data read before the wait for them, or without a barrier after it, is wrong in the
// emulation too.
#include "backends/gpu/platform/copies.h"

#include <gtest/gtest.h>

#include "backends/gpu/platform/kernel.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {
namespace {

constexpr std::uint32_t kThreads = 64;

struct Push {
    const Words4* from;  // [kThreads]
    std::uint32_t* out;  // [kThreads]
};
struct Shared {
    Words4 at[kThreads];
};

enum class Mistake { kNone, kReadsBeforeWaiting, kReadsBeforeTheBarrier, kNeverWaits };

/// Each thread copies 16 bytes and outputs a word that its neighbour copied.
template <Mistake mistake>
void copy(Push push) {
    Shared& shared = shared_memory<Shared>();
    const std::uint32_t i = thread_index(), neighbour = (i + 1) % kThreads;
    start_copy(place_in_shared(&shared.at[i]), push.from + i);
    if constexpr (mistake == Mistake::kReadsBeforeWaiting) push.out[i] = shared.at[i].at[2];
    if constexpr (mistake == Mistake::kNeverWaits) return;
    wait_for_copies();
    if constexpr (mistake == Mistake::kReadsBeforeWaiting) return;
    if constexpr (mistake != Mistake::kReadsBeforeTheBarrier) sync_group();
    push.out[i] = shared.at[neighbour].at[2];
}

class GpuCopies : public MachineTest {
protected:
    std::vector<std::uint32_t> copied(void (*kernel)(Push)) {
        const DeviceArray<Words4> from(kThreads);
        for (std::uint32_t i = 0; i < kThreads; ++i) from[i] = {{0, 0, 1000 + i, 0}};
        const DeviceArray<std::uint32_t> out(kThreads, 0);
        status_ = run<Shared>(kernel, kThreads, {from.data(), out.data()});
        return out.values();
    }

    Status status_ = api::kSuccess;
};

TEST_F(GpuCopies, AreThereAfterTheBarrier) {
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < kThreads; ++i) expected.push_back(1000 + (i + 1) % kThreads);
    EXPECT_EQ(copied(copy<Mistake::kNone>), expected);
    EXPECT_TRUE(same_in_both_orders([&] { return copied(copy<Mistake::kNone>); }));
}

TEST_F(GpuCopies, AreNotThereBeforeTheyAreWaitedFor) {
    EXPECT_EQ(copied(copy<Mistake::kReadsBeforeWaiting>), std::vector<std::uint32_t>(kThreads, 0xffffffff));
}

TEST_F(GpuCopies, OfOthersAreNotSeenWithoutABarrier) {
    EXPECT_FALSE(same_in_both_orders([&] { return copied(copy<Mistake::kReadsBeforeTheBarrier>); }));
}

TEST_F(GpuCopies, MustBeWaitedFor) {
    copied(copy<Mistake::kNeverWaits>);
    EXPECT_NE(status_, api::kSuccess);
    expect_only_report({"planted", "thread 0", "expected it to wait for the copies that it started"});
}

}  // namespace
}  // namespace lfm::gpu::test
