// Barriers and lane exchanges of a group: kernels with the mistakes that the emulation must find.
#include <cstdlib>

#include <gtest/gtest.h>

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/lanes.h"
#include "tests/backends/gpu/emulation/machine_test.h"

namespace lfm::gpu::test {

namespace {

constexpr std::uint32_t kThreads = 256;

struct Push {
    std::uint32_t* out;
};
struct Shared {
    std::uint32_t values[kThreads];
};

enum class Barrier { kPresent, kMissing };

/// Each thread outputs what a thread of another warp wrote.
template <Barrier barrier>
void turn_group(Push push) {
    Shared& shared = shared_memory<Shared>();
    const std::uint32_t i = thread_index();
    shared.values[i] = 1000 + i;
    if constexpr (barrier == Barrier::kPresent) sync_group();
    push.out[i] = shared.values[(i + 64) % kThreads];
}

/// The same between neighbours.
template <Barrier barrier>
void turn_lanes(Push push) {
    Shared& shared = shared_memory<Shared>();
    const std::uint32_t i = thread_index();
    shared.values[i] = 1000 + i;
    if constexpr (barrier == Barrier::kPresent) sync_lanes();
    push.out[i] = shared.values[i ^ 1];
}

/// The second barrier keeps a round's values until all threads have read them.
template <Barrier second>
void turn_often(Push push) {
    Shared& shared = shared_memory<Shared>();
    const std::uint32_t i = thread_index();
    std::uint32_t value = i;
    for (int round = 0; round < 5; ++round) {
        shared.values[i] = value;
        sync_group();
        value += shared.values[(i + 65) % kThreads];
        if constexpr (second == Barrier::kPresent) sync_group();
    }
    push.out[i] = value;
}

void return_early(Push push) {
    if (thread_index() >= 64) return;
    sync_group();
    push.out[thread_index()] = 1;
}

void return_early_within_warp(Push push) {
    if (thread_index() % 2 == 1) return;
    sync_group();
    push.out[thread_index()] = 1;
}

void meet_in_two_places(Push push) {
    if (thread_index() < 64)
        sync_group();
    else
        sync_group();
    push.out[thread_index()] = 1;
}

void half_exchanges(Push push) {
    std::uint32_t value = thread_index();
    if (lane() < 16) value = lane_xor(value, 8);
    push.out[thread_index()] = value;
}

void half_exchanges_half_waits(Push push) {
    std::uint32_t value = thread_index();
    if (lane() < 16)
        value = lane_xor(value, 8);
    else
        sync_group();
    push.out[thread_index()] = value;
}

void exchange_in_two_places(Push push) {
    std::uint32_t value = thread_index();
    value = lane() % 2 == 0 ? lane_value(value, 0) : lane_value(value, 1);
    push.out[thread_index()] = value;
}

/// Right where a warp is a set of lanes, wrong where it is two.
void one_set_exchanges(Push push) {
    std::uint32_t value = thread_index();
    if (lane_set() % 2 == 0) value = lane_xor(value, 1);
    push.out[thread_index()] = value;
}

void read_lane_40(Push push) { push.out[thread_index()] = lane_value(thread_index(), 40); }

void exchange(Push push) {
    const std::uint32_t i = thread_index();
    std::uint32_t value = lane_xor(i, 5);
    value = 100 * value + lane_value(i, lane() / 2);
    push.out[i] = value;
}

void add_lanes(Push push) {
    const float i = static_cast<float>(thread_index());
    const float sum = sum_of_lanes(i), largest = largest_of_lanes(-i);
    push.out[thread_index()] = static_cast<std::uint32_t>(sum) * 1000 + static_cast<std::uint32_t>(-largest);
}

}  // namespace

class MeetingsTest : public MachineTest {
protected:
    MeetingsTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }  // streams are threads

    std::vector<std::uint32_t> output_of(void (*kernel)(Push)) {
        const DeviceArray<std::uint32_t> out(kThreads, 0);
        EXPECT_EQ(run<Shared>(kernel, kThreads, {out.data()}), Status::kSuccess);
        return out.values();
    }
    /// The results differ; under ThreadSanitizer it reports the race.
    void expect_order_matters(void (*kernel)(Push)) {
        if (!kHasThreadSanitizer) {
            EXPECT_FALSE(same_in_both_orders([&] { return output_of(kernel); }));
            return;
        }
        const auto run_alone = [&] {
            output_of(kernel);
            std::exit(0);
        };
        EXPECT_EXIT(run_alone(), testing::ExitedWithCode(66), "data race");
    }
    void expect_report(void (*kernel)(Push), std::initializer_list<const char*> what) {
        const DeviceArray<std::uint32_t> out(kThreads, 0);
        EXPECT_EQ(run<Shared>(kernel, kThreads, {out.data()}), Status::kLaunchFailure);
        expect_only_report(what);
        emulation::reset_machine();  // the device is lost until then
    }
};

TEST_F(MeetingsTest, ABarrierMakesTheOrderIrrelevant) {
    EXPECT_TRUE(same_in_both_orders([&] { return output_of(turn_group<Barrier::kPresent>); }));
    const auto out = output_of(turn_group<Barrier::kPresent>);
    for (std::uint32_t i = 0; i < kThreads; ++i) EXPECT_EQ(out[i], 1000 + (i + 64) % kThreads);
}

TEST_F(MeetingsTest, AMissingBarrierShowsInTheOtherOrder) { expect_order_matters(turn_group<Barrier::kMissing>); }

TEST_F(MeetingsTest, AMissingMeetingOfLanesShowsInTheOtherOrder) {
    expect_order_matters(turn_lanes<Barrier::kMissing>);
    EXPECT_TRUE(same_in_both_orders([&] { return output_of(turn_lanes<Barrier::kPresent>); }));
}

TEST_F(MeetingsTest, ABarrierMissingAtTheEndOfALoopShows) {
    expect_order_matters(turn_often<Barrier::kMissing>);
    EXPECT_TRUE(same_in_both_orders([&] { return output_of(turn_often<Barrier::kPresent>); }));
}

TEST_F(MeetingsTest, WhatNobodyWroteToSharedMemoryIsNotZero) {
    if (kHasThreadSanitizer) GTEST_SKIP() << "reading it is a race, which ThreadSanitizer reports";
    const auto out = output_of(turn_group<Barrier::kMissing>);
    EXPECT_EQ(out[0], 0xffffffffu);  // thread 0 reads what thread 64 has yet to write
    EXPECT_EQ(out[kThreads - 64], 1000u);
}

TEST_F(MeetingsTest, ABarrierThatWarpsLeftIsReported) {
    expect_report(return_early, {"kernel planted, group (0, 0, 0), thread", "divergent barrier",
                                 "thread 0 at sync_group", "meetings_test.cpp:", "thread 64 returned"});
}

TEST_F(MeetingsTest, ABarrierThatPartOfAWarpLeftIsReported) {
    expect_report(return_early_within_warp, {"divergent barrier", "thread 1 returned"});
    emulation::set_order(emulation::Order::kReverse);
    expect_report(return_early_within_warp, {"divergent barrier", "thread 255 returned"});
}

TEST_F(MeetingsTest, TwoBarriersAreNotOne) {
    expect_report(meet_in_two_places, {"divergent barrier", "thread 64 at sync_group"});
}

TEST_F(MeetingsTest, AnExchangeThatLanesSkipIsReported) {
    expect_report(half_exchanges, {"divergent lanes", "thread 0 at an exchange of lanes", "thread 16 returned"});
    expect_report(half_exchanges_half_waits, {"divergent lanes", "thread 16 at sync_group"});
    expect_report(exchange_in_two_places, {"divergent lanes", "thread 1 at an exchange"});
}

TEST_F(MeetingsTest, AWarpOf64IsTwoSetsThatMeetTogether) {
    if (emulation::kWarp == 64) {
        expect_report(one_set_exchanges, {"divergent lanes", "thread 32 returned"});
    } else {
        const auto out = output_of(one_set_exchanges);
        EXPECT_EQ(out[0], 1u);
        EXPECT_EQ(out[33], 33u);
    }
}

TEST_F(MeetingsTest, ThereIsNoLane40) { expect_report(read_lane_40, {"expected a lane below 32"}); }

TEST_F(MeetingsTest, ExchangesStayWithinTheSetOfLanes) {
    EXPECT_TRUE(same_in_both_orders([&] { return output_of(exchange); }));
    const auto out = output_of(exchange);
    for (std::uint32_t i = 0; i < kThreads; ++i) EXPECT_EQ(out[i], 100 * (i ^ 5) + i / 32 * 32 + i % 32 / 2) << i;
}

TEST_F(MeetingsTest, LanesAddUp) {
    const auto out = output_of(add_lanes);
    for (std::uint32_t i = 0; i < kThreads; ++i) {
        const std::uint32_t first = i / 32 * 32;
        EXPECT_EQ(out[i], (32 * first + 31 * 16) * 1000 + first) << i;
    }
}

TEST_F(MeetingsTest, ExchangesNeedWholeSets) {
    const DeviceArray<std::uint32_t> out(kThreads, 0);
    EXPECT_EQ(run<Shared>(exchange, 48, {out.data()}), Status::kLaunchFailure);
    expect_only_report({"expected whole sets of 32 lanes, found a group of 48 threads"});
}

TEST_F(MeetingsTest, AfterAFailureStacksServeAgain) {
    for (int i = 0; i < 3; ++i) {
        expect_report(half_exchanges, {"divergent lanes"});
        EXPECT_TRUE(same_in_both_orders([&] { return output_of(turn_often<Barrier::kPresent>); }));
    }
}

}  // namespace lfm::gpu::test
