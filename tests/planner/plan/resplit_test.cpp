// How much a split loses that was made for a host faster or slower than the real one, and when moving to another pays.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>

#include <gtest/gtest.h>

#include "planner/machine/machine_json.h"
#include "planner/model/shape.h"
#include "planner/plan/resplit.h"

namespace lfm::test {
namespace {

MachinePart machine_part(const std::string& name) {
    const std::string path = LFM_SOURCE_DIR "/profiles/" + name + ".json";
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return parse_machine_part(text.str(), path);
}

MachineProfile machine_with(const std::string& gpu) {
    const MachinePart parts[] = {machine_part("host/ddr5-5600"), machine_part("gpu/" + gpu)};
    return merge_parts(parts, nullptr);
}

/// What a split made for `planned` loses on `now`: seconds a token, as a multiple of the best there.
double loss(const ModelDescription& model, const MachineProfile& planned, const MachineProfile& now, Bytes vram) {
    const PlanRequest request{.sizes = {.n_ctx = 8192}, .vram_budget = vram};
    const auto resplit = find_resplit(model, now, request, std::get<Plan>(make_plan(model, planned, request)), 0);
    return resplit ? resplit->now / resplit->then : 1;
}

TEST(StaleSplit, LosesLittle) {
    struct {
        double slower, most;  // how many times as long the host takes; the largest loss
        double found = 1;
    } steps[] = {{0.33, 1.12}, {0.5, 1.05}, {0.7, 1.02}, {1.5, 1.1}, {2, 1.1}, {3, 1.25}};
    for (const char* gpu : {"rtx-4060-8gb", "rtx-4060-ti-16gb", "rx-7900-xtx-24gb"})
        for (const char* shape : {"lfm2-24b-a2b:Q4_0", "lfm2-24b-a2b:Q8_0"}) {
            const MachineProfile machine = machine_with(gpu);
            const ModelDescription model = describe_shape(shape);
            for (auto& step : steps) {
                const MachineProfile now = with_slower_host(machine, step.slower);
                for (const std::uint64_t gib : {4, 6, 8, 12, 16, 20}) {
                    const Bytes vram{gib << 30};
                    if (vram > machine.devices.front().memory) break;
                    step.found = std::max(step.found, loss(model, machine, now, vram));
                }
            }
        }
    for (const auto& step : steps) {
        std::cout << "host takes " << step.slower << " times as long: at most " << step.found << " times a token\n";
        EXPECT_LE(step.found, step.most);
    }
    EXPECT_GT(steps[5].found, 1.02) << "or it would never pay to move";
}

TEST(Resplit, RepaysAfterEnoughTokens) {
    const ModelDescription model = describe_shape("lfm2-24b-a2b:Q8_0");
    const MachineProfile planned = machine_with("rx-7900-xtx-24gb"), now = with_slower_host(planned, 3);
    const PlanRequest request{.sizes = {.n_ctx = 8192}, .vram_budget = Bytes{std::uint64_t{20} << 30}};
    const Plan present = std::get<Plan>(make_plan(model, planned, request));
    const auto found = find_resplit(model, now, request, present, 1000);
    ASSERT_TRUE(found);
    EXPECT_GT(found->move, 20.0 * 1.07e9 / 30e9) << "the upload alone";
    EXPECT_FALSE(found->repays_within(1));
    EXPECT_TRUE(found->repays_within(static_cast<std::uint64_t>(found->move / (found->now - found->then)) + 1));
    EXPECT_NEAR(found->then, 1 / found->plan.decode.mid, 1e-6);
    // Where nothing is wrong there is nothing to gain.
    EXPECT_FALSE(find_resplit(model, planned, request, present, 1000));
}

}  // namespace
}  // namespace lfm::test
