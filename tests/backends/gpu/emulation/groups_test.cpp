// Where threads are, what a group's shared memory is, and what is refused before a kernel runs.
#include <cstdlib>

#include <gtest/gtest.h>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/kernel.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {

namespace {

struct Push {
    std::uint32_t* out;
};
struct Odd {
    std::uint8_t values[67];
};

void tell_places(Push push) {
    const Index3 group = group_index(), n = n_groups();
    const std::uint32_t i = (group.z * n.y + group.y) * n.x + group.x;
    push.out[i * group_size() + thread_index()] = 10000 * group.z + 1000 * group.y + 100 * group.x + thread_index();
}

void show_shared(Push push) {
    Odd& odd = shared_memory<Odd>();
    std::uint32_t all = 0xff;
    for (const std::uint8_t value : odd.values) all &= value;
    push.out[group_index().x] = all;
    for (std::uint8_t& value : odd.values) value = 1;
}

void take_numbers(Push push) {
    const std::uint32_t number = add_atomically(push.out, 1);
    push.out[1 + group_index().x * group_size() + thread_index()] = number;
}

void write_alike(Push push) {
    if (thread_index() == 0) push.out[0] = 1;
}

void ask_for_other_size(Push push) { push.out[0] = shared_memory<std::uint32_t>(); }
void do_nothing(Push) {}

}  // namespace

class GroupsTest : public MachineTest {};

TEST_F(GroupsTest, ThreadsKnowWhereTheyAre) {
    const GroupCounts groups{2, 3, 4};
    for (const std::uint32_t n_threads : {1u, 40u, 64u, 256u, 1024u}) {
        const DeviceArray<std::uint32_t> out(std::size_t{24} * n_threads, 0);
        ASSERT_EQ(run(tell_places, n_threads, {out.data()}, groups), Status::kSuccess);
        for (std::uint32_t group = 0; group < 24; ++group)
            for (std::uint32_t i = 0; i < n_threads; ++i)
                ASSERT_EQ(out[group * n_threads + i],
                          10000 * (group / 6) + 1000 * (group / 2 % 3) + 100 * (group % 2) + i);
    }
}

TEST_F(GroupsTest, EachGroupsSharedMemoryIsUnwritten) {
    const DeviceArray<std::uint32_t> out(5, 0);
    ASSERT_EQ(run<Odd>(show_shared, 1, {out.data()}, {5}), Status::kSuccess);
    EXPECT_EQ(out.values(), std::vector<std::uint32_t>(5, 0xff));
}

TEST_F(GroupsTest, SharedMemoryIsAsDeclared) {
    const DeviceArray<std::uint32_t> out(1, 0);
    EXPECT_EQ(run<Odd>(ask_for_other_size, 64, {out.data()}), Status::kLaunchFailure);
    expect_only_report({"expected 67 bytes of shared memory as declared, found 4 asked for"});
}

TEST_F(GroupsTest, AtomicAdditionsCountAll) {
    for (const auto order : {emulation::Order::kForward, emulation::Order::kReverse}) {
        emulation::set_order(order);
        const DeviceArray<std::uint32_t> out(1 + 3 * 64, 0);
        ASSERT_EQ(run(take_numbers, 64, {out.data()}, {3}), Status::kSuccess);
        EXPECT_EQ(out[0], 3u * 64);
        EXPECT_EQ(out[1], order == emulation::Order::kForward ? 0u : 3u * 64 - 1);
    }
}

TEST_F(GroupsTest, GroupsThatWriteOnePlaceAreSeenByThreadSanitizer) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";  // streams are threads
    if (!kHasThreadSanitizer) GTEST_SKIP() << "without ThreadSanitizer it goes unnoticed: they write the same";
    const DeviceArray<std::uint32_t> out(1, 0);
    const auto run_alone = [&] {
        EXPECT_EQ(run(write_alike, 64, {out.data()}, {2}), Status::kSuccess);
        std::exit(0);
    };
    EXPECT_EXIT(run_alone(), testing::ExitedWithCode(66), "data race");
}

TEST_F(GroupsTest, LaunchesBeyondTheDevicesLimitsAreRefused) {
    EXPECT_EQ(run(do_nothing, 0, {}), Status::kInvalidConfiguration);
    expect_only_report({"expected 1 to 1024 threads, found 0"});
    EXPECT_EQ(run(do_nothing, 1025, {}), Status::kInvalidConfiguration);
    expect_only_report({"found 1025"});
    for (const GroupCounts& groups : {GroupCounts{0}, GroupCounts{1, 65536}, GroupCounts{1, 1, 65536}}) {
        EXPECT_EQ(run(do_nothing, 64, {}, groups), Status::kInvalidConfiguration);
        expect_only_report({"groups, found"});
    }
    struct Huge {
        std::uint8_t bytes[(48 << 10) + 1];
    };
    EXPECT_EQ(run<Huge>(do_nothing, 64, {}), Status::kInvalidConfiguration);
    expect_only_report({"found 49153 bytes"});
    EXPECT_EQ(run(do_nothing, 64, {}), Status::kSuccess) << "none of these stays";
}

TEST_F(GroupsTest, TheDeviceTellsItsWarp) {
    api::Properties properties;
    ASSERT_EQ(api::properties(&properties, 0), Status::kSuccess);
    EXPECT_STREQ(properties.name, emulation::kWarp == 32 ? "Emulated GPU, warp 32" : "Emulated GPU, warp 64");
    EXPECT_EQ(api::properties(&properties, 1), Status::kInvalidDevice);
}

}  // namespace lfm::gpu::test
