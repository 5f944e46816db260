#include "planner/cost/prefill_cost.h"

#include <gtest/gtest.h>

#include "planner/model/shape.h"
#include "tests/planner/random_cases.h"

namespace lfm {
namespace {

TEST(SplitGroups, LeavesAllWithTheHostOverASlowBus) {
    const std::vector<GroupTimes> groups(3, {.host = 10, .copy = 1000, .device = 1});
    const GroupSplit split = split_groups(groups, 5, 7, 1, {});
    EXPECT_EQ(split.streamed, 0u);
    EXPECT_EQ(split.seconds, 35);
}

TEST(SplitGroups, SharesSoThatHostAndBusEndTogether) {
    const std::vector<GroupTimes> groups(4, {.host = 10, .copy = 9, .device = 1});
    // Streamed 0: 45. 1: host 35. 2: host 25, bus 18 + 1. 3: bus 27 + 1, host 15.
    const GroupSplit split = split_groups(groups, 5, 7, 1, {});
    EXPECT_EQ(split.streamed, 2u);
    EXPECT_EQ(split.seconds, 25);
}

TEST(SplitGroups, TravelsTheLargeGroupsFirst) {
    // One expert with many tokens, one with few: the copy costs the same.
    const std::vector<GroupTimes> groups{{.host = 100, .copy = 20, .device = 5}, {.host = 1, .copy = 20, .device = 1}};
    EXPECT_EQ(split_groups(groups, 0, 0, 1, {}).streamed, 1u);
}

TEST(PrefillTime, IsNeverLongerWithAFasterDevice) {
    RandomCases cases(11);
    for (int i = 0; i < 200; ++i) {
        const ModelDescription model = cases.model({});
        const MachineProfile machine = cases.machine();
        MachineRates rates = rates_of(machine, 0, FigureEnd::kMid);
        Placement placement = host_placement(model.layers.size());
        for (std::size_t l = 0; l < placement.layers.size(); ++l)
            if (cases.chance(0.7))
                placement.layers[l] = {kDevice,
                                       {model.layers[l].is_moe() ? cases.whole(0, model.hyper.n_expert) : 0, 0}};
        const Routing routing = uniform_routing(model.hyper);
        const double before = prefill_time(model, rates, routing, {}, placement, 64).seconds;
        for (double& seconds : rates.device->gemm_seconds_per_flop) seconds /= 2;
        EXPECT_LE(prefill_time(model, rates, routing, {}, placement, 64).seconds, before * (1 + 1e-9));
    }
}

}  // namespace
}  // namespace lfm
