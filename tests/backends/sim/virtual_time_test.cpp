// Timelines worked out by hand.
#include "backends/sim/virtual_time.h"

#include <gtest/gtest.h>

#include <string>

#include "memory/error.h"

namespace lfm::test {
namespace {

using sim::VirtualTime;

constexpr Point compute(std::uint64_t value) { return {Timeline::kCompute, value}; }
constexpr Point copied(std::uint64_t value) { return {Timeline::kCopy, value}; }
constexpr Point host(std::uint64_t value) { return {Timeline::kHostSignals, value}; }

void add_batch(VirtualTime& time, double seconds, std::vector<Point> waits = {}) {
    time.add_batch(ProgramId{0}, waits);
    const sim::TimedOperation operation{"work", seconds};
    time.batch_ran(std::span(&operation, 1));
}

void add_copy(VirtualTime& time, double seconds, std::vector<Point> waits = {}) { time.add_copy(seconds, waits); }

/// The n-th event of a lane.
VirtualEvent event(const VirtualTime& time, Timeline lane, std::size_t n) {
    for (const VirtualEvent& event : time.events())
        if (event.lane == lane && n-- == 0) return event;
    ADD_FAILURE() << "no such event";
    return {};
}

// A handshake of 10: half of it to start the first program, half of it to see the last one's end.
TEST(VirtualTime, AStepOnTheDeviceAloneCostsItsProgramsAndOneHandshake) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_batch(time, 7);
    time.finish({2, 0, 0});
    EXPECT_DOUBLE_EQ(time.times().total, 37);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 25);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).end, 32);
}

// Routed at 25; the host begins at 30, ends at 130, is seen at 135: one handshake more than its work. The device's own
// experts (25 to 65) are hidden.
TEST(VirtualTime, HostWorkBesideAProgramCostsItselfAndOneHandshake) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_batch(time, 40);
    add_batch(time, 5, {host(1)});
    time.add_host_work({.after = compute(1), .done = host(1), .seconds = 100, .name = "cold"});
    time.finish({3, 0, 1});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kHostSignals, 0).start, 30);
    EXPECT_STREQ(event(time, Timeline::kHostSignals, 0).name, "cold");
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 2).start, 135);
    EXPECT_DOUBLE_EQ(time.times().total, 145);
}

TEST(VirtualTime, HiddenHostWorkCostsNothing) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_batch(time, 400);
    add_batch(time, 5, {host(1)});
    time.add_host_work({.after = compute(1), .done = host(1), .seconds = 100});
    time.finish({3, 0, 1});
    EXPECT_DOUBLE_EQ(time.times().total, 5 + 20 + 400 + 5 + 5);
}

// Routed at 25. A copy that the host orders: the host knows at 30, the copy lane at 35. Both wait for it.
TEST(VirtualTime, CopiesQueueOnTheirLane) {
    VirtualTime time(10);
    add_batch(time, 20);
    time.add_host_work({.after = compute(1), .done = host(1), .seconds = 0});
    add_copy(time, 50, {host(1)});
    add_copy(time, 30, {compute(1)});
    add_batch(time, 1, {copied(1)});
    add_batch(time, 1, {copied(2)});
    time.finish({3, 2, 1});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).start, 35);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).end, 85);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 1).end, 115);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 85);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 2).start, 115);
    EXPECT_DOUBLE_EQ(time.times().total, 121);
}

// Host points without reported work are reached together with the one before.
TEST(VirtualTime, UnreportedHostPointsTakeNoTime) {
    VirtualTime time(10);
    add_batch(time, 20, {host(1)});
    add_batch(time, 20, {host(3)});
    time.add_host_work({.after = compute(1), .done = host(2), .seconds = 100});
    time.finish({2, 0, 3});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 25 + 5 + 100 + 5);
}

TEST(VirtualTime, HostWorkMayBeReportedInAnyOrder) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_batch(time, 20, {host(1)});
    add_batch(time, 20, {host(2)});
    time.add_host_work({.after = compute(2), .done = host(2), .seconds = 7});
    time.add_host_work({.after = compute(1), .done = host(1), .seconds = 3});
    time.finish({3, 0, 2});
    EXPECT_DOUBLE_EQ(time.times().total, 5 + 20 + (5 + 3 + 5) + 20 + (5 + 7 + 5) + 20 + 5);
}

// 100 s of copies in a step of 30 s: 70 s are left, 40 s of them after the next step.
TEST(VirtualTime, CopiesGoOnInTheNextStep) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_copy(time, 100);
    time.finish({1, 0, 0});
    EXPECT_DOUBLE_EQ(time.times().total, 30);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).end, 30);

    add_batch(time, 20);
    add_copy(time, 5);  // behind the first
    time.finish({2, 2, 0});
    EXPECT_DOUBLE_EQ(time.times().total, 30);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).start, 0);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).end, 30);

    add_batch(time, 1, {copied(1)});
    add_batch(time, 1, {copied(2)});
    time.finish({4, 2, 0});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 0).start, 40);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 45);

    add_batch(time, 1, {copied(2)});
    time.finish({5, 2, 0});
    EXPECT_DOUBLE_EQ(time.times().total, 11);
}

TEST(VirtualTime, ACopyMayWaitForTheNextStep) {
    VirtualTime time(10);
    add_batch(time, 20);
    add_copy(time, 100, {compute(2), host(1)});
    time.finish({1, 0, 0});
    add_batch(time, 20);
    add_batch(time, 1, {copied(1)});
    time.add_host_work({.after = {}, .done = host(1), .seconds = 2});
    time.finish({3, 1, 1});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCopy, 0).start, 25);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 125);
}

TEST(VirtualTime, WhoWaitsBetweenStepsLetsTimePass) {
    VirtualTime time(10);
    add_copy(time, 100);
    add_copy(time, 100);
    time.let_pass(1);
    add_batch(time, 20, {copied(1)});
    add_batch(time, 20, {copied(2)});
    time.finish({2, 2, 0});
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 0).start, 5);
    EXPECT_DOUBLE_EQ(event(time, Timeline::kCompute, 1).start, 100);
}

TEST(VirtualTime, WorkThatWaitsForItselfIsAnErrorAndTheNextStepIsSound) {
    VirtualTime time(10);
    add_batch(time, 20, {host(1)});
    time.add_host_work({.after = compute(1), .done = host(1), .seconds = 1});
    EXPECT_THROW(time.finish({1, 0, 1}), Error);
    add_batch(time, 20);
    time.finish({2, 0, 1});
    EXPECT_DOUBLE_EQ(time.times().total, 30);
}

}  // namespace
}  // namespace lfm::test
