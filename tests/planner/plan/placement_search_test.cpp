#include "planner/plan/placement_search.h"

#include <cstdlib>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/planner/random_cases.h"

namespace lfm {
namespace {

/// The least time over all placements, sizes to the byte.
double exhaustive(const Inventory& inventory, const DecodeCost& cost, Bytes device, Bytes host) {
    const std::uint32_t n_layer = cost.n_layer();
    // Choice 0 is the host, c the device with c - 1 experts.
    std::vector<std::uint32_t> n_choices, choice(n_layer, 0);
    for (const LayerInventory& layer : inventory.layers) n_choices.push_back(layer.n_expert + 2);
    double shortest = std::numeric_limits<double>::infinity();
    for (bool more = true; more;) {
        Placement placement = host_placement(n_layer);
        for (std::uint32_t i = 0; i < n_layer; ++i)
            if (choice[i] > 0) placement.layers[i] = {kDevice, {choice[i] - 1, 0}};
        for (const DeviceId output : {kHost, kDevice}) {
            placement.output = output;
            if (placed_bytes(inventory, placement) <= device && host_bytes(inventory, placement) <= host)
                shortest = std::min(shortest, step_time(cost, placement).total());
        }
        more = false;
        for (std::uint32_t i = 0; i < n_layer && !more; ++i) {
            choice[i] = (choice[i] + 1) % n_choices[i];
            more = choice[i] != 0;
        }
    }
    return shortest;
}

TEST(PlacementSearch, IsWithinOnePercentOfTheExhaustiveOptimum) {
    RandomCases cases(2);
    int n = 0, n_close = 0, n_feasible = 0;
    const int wanted = std::getenv("LFM_FULL") != nullptr ? 1000 : 200;
    while (n < wanted) {
        const ModelDescription model = cases.model({.n_layer = 4, .n_expert = 4});
        MachineProfile machine = cases.machine();
        const Routing routing = skewed_routing(model.hyper, cases.chance(0.5) ? 0.0 : cases.between(0.0, 2.0), 0);
        const Inventory inventory = take_inventory(model, {.n_ctx = cases.whole(1, 2000), .n_batch = 8});
        const DecodeCost cost(model, rates_of(machine, 0, FigureEnd::kMid), routing, {}, 100);
        const double all = static_cast<double>((inventory.weights() + inventory.kv() + inventory.conv_state()).value);
        const Bytes device{static_cast<std::uint64_t>(all * cases.between(0.0, 1.1))};
        const Bytes host{static_cast<std::uint64_t>(all * cases.between(0.3, 1.5))};
        const auto found = PlacementSearch(inventory, cost, device).best(device, host);
        const double least = exhaustive(inventory, cost, device, host);
        ++n;
        if (least == std::numeric_limits<double>::infinity()) {
            EXPECT_FALSE(found);
            ++n_close;
            continue;
        }
        ++n_feasible;
        if (!found) continue;
        const double seconds = step_time(cost, *found).total();
        EXPECT_GE(seconds, least * (1 - 1e-9));
        n_close += seconds <= least * 1.01;
        const auto whole = best_whole_layers(inventory, cost, device, host);
        if (whole) {
            EXPECT_LE(seconds, step_time(cost, whole->placement).total() * 1.01);
        }
    }
    EXPECT_GE(n_close, n * 99 / 100) << n_feasible << " of them feasible";
    EXPECT_GT(n_feasible, n / 2);
    RecordProperty("close", n_close);
}

}  // namespace
}  // namespace lfm
