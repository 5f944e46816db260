// Tells the load of other programs from our own.
#include <gtest/gtest.h>

#include <chrono>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/machine/processor_load.h"

namespace lfm::test {
namespace {

TEST(ProcessorLoad, OurOwnWorkIsNoNoise) {
    const ProcessorTimes before{.busy = 100, .stolen = 5, .own = 10, .clock = 1000};
    EXPECT_EQ(load_remark(before, {.busy = 120.5, .stolen = 5.5, .own = 30, .clock = 1010}), "");
    EXPECT_EQ(load_remark(before, {.busy = 128, .stolen = 5, .own = 30, .clock = 1010}),
              "noisy: other programs kept 0.8 processors busy; figures may be too low");
    EXPECT_EQ(load_remark(before, {.busy = 120, .stolen = 17, .own = 30, .clock = 1010}),
              "noisy: the host of this virtual machine held back 1.2 processors");
}

TEST(ProcessorLoad, UnknownIsNoRemark) {
    EXPECT_EQ(load_remark({.clock = 1}, {.busy = 100, .clock = 2}), "");
    EXPECT_EQ(load_remark({.busy = 1, .clock = 2}, {.busy = 100, .clock = 2}), "");
}

TEST(ProcessorLoad, AnotherProcessCounts) {
    const ProcessorTimes before = processor_times();
    if (before.busy < 0) GTEST_SKIP() << "/proc/stat says nothing";
    const pid_t other = ::fork();
    ASSERT_GE(other, 0);
    if (other == 0)
        for (volatile unsigned i = 0;;) i = i + 1;
    ::usleep(500'000);
    const ProcessorTimes after = processor_times();
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    EXPECT_GE(after.clock - before.clock, 0.5);
    EXPECT_GT(after.busy, before.busy);
    EXPECT_LT(after.own - before.own, 0.3);
    EXPECT_NE(load_remark(before, after), "");  // and if it got no processor, others or the host have them
}

}  // namespace
}  // namespace lfm::test
