// The memory of a cgroup, in either version and at any depth.
#include <gtest/gtest.h>

#include "runtime/machine/host_memory.h"
#include "tests/runtime/machine/cgroup_tree.h"

namespace lfm::test {
namespace {

TEST(CgroupMemory, TheTightestOfTheGroupsAroundCounts) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "0::/a/b/c\n");
    tree.put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    tree.put("/sys/fs/cgroup/a/b/memory.max", "3000\n");
    tree.put("/sys/fs/cgroup/a/b/memory.current", "500\n");
    tree.put("/sys/fs/cgroup/a/memory.max", "4000\n");
    tree.put("/sys/fs/cgroup/a/memory.current", "3999\n");
    EXPECT_EQ(cgroup_memory(tree.root()).limit, Bytes{3000});
    EXPECT_EQ(cgroup_memory(tree.root()).used, Bytes{500});
}

TEST(CgroupMemory, VersionOneHasItsOwnFolderAndFiles) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "9:cpu:/x\n4:hugetlb,memory:/box\n0::/\n");
    tree.put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2048\n");
    tree.put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1024\n");
    tree.put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7\n");
    EXPECT_EQ(cgroup_memory(tree.root()).limit, Bytes{2048});
    EXPECT_EQ(cgroup_memory(tree.root()).used, Bytes{1024});
}

TEST(CgroupMemory, InAContainerTheRootHasTheLimit) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "0::/\n");
    tree.put("/sys/fs/cgroup/memory.max", "4096\n");
    EXPECT_EQ(cgroup_memory(tree.root()).limit, Bytes{4096});
}

TEST(CgroupMemory, AWideGroupThatIsNearlyUsedUpLeavesTheLeast) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "0::/a/b\n");
    tree.put("/sys/fs/cgroup/a/b/memory.max", "3000\n");
    tree.put("/sys/fs/cgroup/a/b/memory.current", "500\n");
    tree.put("/sys/fs/cgroup/a/memory.max", "4000\n");
    tree.put("/sys/fs/cgroup/a/memory.current", "3900\n");
    EXPECT_EQ(cgroup_memory(tree.root()).limit, Bytes{3000});
    EXPECT_EQ(cgroup_memory(tree.root()).left, Bytes{100});
    // Pages of files can be dropped; those that programs wrote to memory cannot.
    tree.put("/sys/fs/cgroup/a/memory.stat", "anon 1000\nfile 2900\ninactive_file 1500\nactive_file 200\n");
    EXPECT_EQ(cgroup_memory(tree.root()).left, Bytes{1800});
    tree.put("/sys/fs/cgroup/a/b/memory.current", "2000\n");
    EXPECT_EQ(cgroup_memory(tree.root()).left, Bytes{1000});
    tree.put("/sys/fs/cgroup/a/b/memory.current", "9000\n");
    EXPECT_EQ(cgroup_memory(tree.root()).left, Bytes{0});
}

TEST(CgroupMemory, VersionOneCountsTheGroupsBelow) {
    CgroupTree tree;
    tree.put("/proc/self/cgroup", "4:memory:/box\n");
    tree.put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2048\n");
    tree.put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "2000\n");
    tree.put("/sys/fs/cgroup/memory/box/memory.stat",
             "inactive_file 1\nactive_file 1\ntotal_inactive_file 300\ntotal_active_file 100\n");
    EXPECT_EQ(cgroup_memory(tree.root()).left, Bytes{448});
}

TEST(CgroupMemory, NoneIsNoLimit) {
    CgroupTree tree;
    EXPECT_FALSE(cgroup_memory(tree.root()).limit);
    tree.put("/proc/self/cgroup", "\nnonsense\n0:\n::\n3:memory\n0::no/slash\n");
    tree.put("/sys/fs/cgroup/memory.max", "-\n");
    EXPECT_FALSE(cgroup_memory(tree.root()).limit);
}

TEST(HostMemory, SomeIsInstalledAndNotMoreIsFree) {
    EXPECT_GT(installed_memory().value, std::uint64_t{64} << 20);
    EXPECT_GT(available_memory().value, 0u);
    EXPECT_LE(available_memory(), installed_memory());
}

}  // namespace
}  // namespace lfm::test
