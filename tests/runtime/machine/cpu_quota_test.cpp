// The processor time of a cgroup, in either version and at any depth.
#include <gtest/gtest.h>

#include "runtime/machine/cpu_quota.h"
#include "runtime/machine/threads.h"
#include "tests/runtime/machine/cgroup_tree.h"

#include <sched.h>

namespace lfm::test {
namespace {

TEST(CpuQuota, TheTightestOfTheGroupsAroundCounts) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "0::/a/b/c\n");
    tree.put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    tree.put("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    tree.put("/sys/fs/cgroup/a/cpu.max", "800000 100000\n");
    EXPECT_EQ(cpu_quota(tree.root()), 1.5);
    tree.put("/sys/fs/cgroup/a/cpu.max", "25000 50000\n");
    EXPECT_EQ(cpu_quota(tree.root()), 0.5);
}

TEST(CpuQuota, InAContainerTheRootHasTheQuota) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "0::/\n");
    tree.put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT_EQ(cpu_quota(tree.root()), 2.0);
    // Version 1 gives the host's path of a group whose folder is the container's root.
    CgroupTree old;
    old.put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/0123\n1:name=systemd:/docker/0123\n");
    old.put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
    old.put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cpu_quota(old.root()), 3.0);
}

TEST(CpuQuota, VersionOneHasItsOwnFolderAndFiles) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "9:memory:/m\n4:cpuacct,cpu:/box/inner\n0::/\n");
    tree.put("/sys/fs/cgroup/cpu/box/inner/cpu.cfs_quota_us", "-1\n");
    tree.put("/sys/fs/cgroup/cpu/box/inner/cpu.cfs_period_us", "100000\n");
    tree.put("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "250000\n");
    tree.put("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
    tree.put("/sys/fs/cgroup/cpu/m/cpu.cfs_quota_us", "1000\n");
    tree.put("/sys/fs/cgroup/cpu/m/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cpu_quota(tree.root()), 2.5);
}

TEST(CpuQuota, NoneIsNoLimit) {
    CgroupTree tree;
    EXPECT_FALSE(cpu_quota(tree.root()));
    tree.put("/proc/self/cgroup", "\nnonsense\n0:\n::\n3:cpu\n4:cpuset:/a\n0::no/slash\n");
    for (const char* text : {"max 100000\n", "max\n", "", "x y\n", "0 100000\n", "1000 0\n", "-1 100000\n"}) {
        tree.put("/sys/fs/cgroup/cpu.max", text);
        EXPECT_FALSE(cpu_quota(tree.root())) << text;
    }
}

TEST(CpuQuota, FractionsRoundUpAndOneThreadIsTheLeast) {
    EXPECT_EQ(threads_within({}, 16), 16u);
    EXPECT_EQ(threads_within(64.0, 16), 16u);
    EXPECT_EQ(threads_within(2.0, 16), 2u);
    EXPECT_EQ(threads_within(2.1, 16), 3u);
    EXPECT_EQ(threads_within(0.2, 16), 1u);
}

TEST(CpuQuota, ThreadsFollowTheAffinityMask) {
    cpu_set_t before, one;
    ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    const std::uint32_t n_threads = default_thread_count();
    ::sched_setaffinity(0, sizeof before, &before);
    EXPECT_EQ(n_threads, 1u);
}

}  // namespace
}  // namespace lfm::test
