#include "planner/plan/make_plan.h"

#include <algorithm>
#include <cstdlib>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "planner/cost/placement.h"
#include "tests/planner/random_cases.h"

namespace lfm {
namespace {

/// The long suites run many more.
int n_cases(int normally, int full) { return std::getenv("LFM_FULL") != nullptr ? full : normally; }

/// Bytes by where the plan places each item, added up from the inventory.
struct Sums {
    std::uint64_t device = 0, host = 0;
};

Sums add_up(const Plan& plan, const ModelDescription& model) {
    const Inventory inventory = take_inventory(model, plan.sizes);
    Sums sums;
    const auto add = [&](DeviceId where, Bytes bytes) { (where == kHost ? sums.host : sums.device) += bytes.value; };
    add(plan.embedding, inventory.embedding);
    add(plan.output, inventory.output + inventory.output_norm);
    const std::size_t n_expert = model.hyper.n_expert;
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
        const LayerInventory& layer = inventory.layers[i];
        add(plan.layers[i], layer.home());
        for (std::size_t e = 0; e < layer.n_expert; ++e) add(plan.experts[i * n_expert + e], layer.expert);
    }
    return sums;
}

std::uint64_t weights_and_state(const Plan& plan, DeviceId device) {
    std::uint64_t sum = 0;
    for (const MemoryLine& line : plan.memory)
        if (line.device == device && line.use <= MemoryUse::kConvState && line.use != MemoryUse::kExpertSlots)
            sum += line.bytes.value;
    return sum;
}

TEST(MakePlan, NeverExceedsABudgetAndPlacesEveryItemOnce) {
    RandomCases cases(1);
    int n_plans = 0, n_splits = 0;
    for (int i = 0; i < n_cases(3000, 100000); ++i) {
        const ModelDescription model = cases.model({});
        MachineProfile machine = cases.machine();
        PlanRequest request = cases.request(model);
        const double all = static_cast<double>(all_bytes(model, request.sizes).value);
        request.vram_budget = Bytes{static_cast<std::uint64_t>(all * cases.between(0.0, 2.0))};
        request.ram_budget = Bytes{static_cast<std::uint64_t>(all * cases.between(0.0, 3.0))};
        if (cases.chance(0.2))
            machine.devices[0].free = Bytes{static_cast<std::uint64_t>(all * cases.between(0.0, 1.0))};
        const auto result = make_plan(model, machine, request);
        if (const auto* shortfall = std::get_if<Shortfall>(&result)) {
            ASSERT_GT(shortfall->needed, shortfall->available) << i;
            continue;
        }
        const Plan& plan = std::get<Plan>(result);
        ++n_plans;
        ASSERT_LE(plan.used(kDevice), *request.vram_budget) << i;
        ASSERT_LE(plan.used(kDevice), machine.devices[0].free.value_or(machine.devices[0].memory)) << i;
        const bool shared = machine.devices[0].memory_kind == DeviceMemory::kSharedWithHost;
        ASSERT_LE(plan.used(kHost) + (shared ? plan.used(kDevice) : Bytes{}), *request.ram_budget) << i;
        const Sums sums = add_up(plan, model);
        ASSERT_EQ(sums.device, weights_and_state(plan, kDevice)) << i;
        ASSERT_EQ(sums.host, weights_and_state(plan, kHost)) << i;
        ASSERT_EQ(sums.device + sums.host, all_bytes(model, request.sizes).value) << i;
        ASSERT_TRUE(plan.decode.low > 0 && plan.decode.low <= plan.decode.mid && plan.decode.mid <= plan.decode.high);
        ASSERT_TRUE(plan.prefill.low > 0 && plan.prefill.low <= plan.prefill.high) << i;
        for (std::size_t layer = 0; layer < plan.layers.size(); ++layer)
            for (std::size_t e = 0; plan.layers[layer] == kHost && e < model.hyper.n_expert; ++e)
                ASSERT_EQ(plan.experts[layer * model.hyper.n_expert + e], kHost) << i;
        for (const Alternative& other : plan.alternatives)  // never slower than what others offer
            ASSERT_LE(other.decode, plan.decode.mid * (1 + 1e-6)) << i << ' ' << other.name;
        const std::uint32_t on_device = plan.n_experts_on(kDevice);
        n_splits += on_device > 0 && plan.n_experts_on(kHost) > 0;
        if (i % 10 == 0) {  // the same question, the same answer
            const Plan again = std::get<Plan>(make_plan(model, machine, request));
            ASSERT_EQ(plan.experts, again.experts);
            ASSERT_EQ(plan.layers, again.layers);
            ASSERT_EQ(plan.decode, again.decode);
        }
    }
    EXPECT_GT(n_plans, n_cases(3000, 100000) / 4);
    EXPECT_GT(n_splits, n_plans / 50);
}

TEST(MakePlan, MoreVramIsNeverPredictedSlower) {
    RandomCases cases(3);
    for (int i = 0; i < n_cases(100, 2000); ++i) {
        const ModelDescription model = cases.model({});
        const MachineProfile machine = cases.machine();
        PlanRequest request = cases.request(model);
        request.ram_budget = machine.host.memory;
        const double all = static_cast<double>(all_bytes(model, request.sizes).value);
        double fastest = 0;
        for (int step = 0; step <= 40; ++step) {
            request.vram_budget = Bytes{static_cast<std::uint64_t>(all * 0.05 * step)};
            const auto result = make_plan(model, machine, request);
            if (std::holds_alternative<Shortfall>(result)) continue;
            const double decode = std::get<Plan>(result).decode.mid;
            ASSERT_GE(decode, fastest * (1 - 1e-5)) << i << " step " << step;
            fastest = std::max(fastest, decode);
        }
    }
}

TEST(MakePlan, MoreContextNeverTakesFewerBytesNorIsPredictedFaster) {
    RandomCases cases(4);
    for (int i = 0; i < n_cases(100, 2000); ++i) {
        const ModelDescription model = cases.model({});
        const MachineProfile machine = cases.machine();
        PlanRequest request = cases.request(model);
        request.ram_budget = machine.host.memory;
        request.vram_budget = Bytes{static_cast<std::uint64_t>(
            static_cast<double>(all_bytes(model, request.sizes).value) * cases.between(0.2, 1.2))};
        double slowest = std::numeric_limits<double>::infinity();
        Bytes least;
        for (std::uint32_t n_ctx = 64; n_ctx <= 65536; n_ctx *= 2) {
            request.sizes.n_ctx = n_ctx;
            const auto result = make_plan(model, machine, request);
            if (std::holds_alternative<Shortfall>(result)) continue;
            const Plan& plan = std::get<Plan>(result);
            ASSERT_LE(plan.decode.mid, slowest * (1 + 1e-5)) << i << " n_ctx " << n_ctx;
            slowest = std::min(slowest, plan.decode.mid);
            const Bytes state = take_inventory(model, request.sizes).kv();
            ASSERT_GE(state, least);
            least = state;
        }
    }
}

TEST(MakePlan, ManyBudgetsAtOnceAreTheSamePlans) {
    RandomCases cases(5);
    for (int i = 0; i < 30; ++i) {
        const ModelDescription model = cases.model({});
        const MachineProfile machine = cases.machine();
        PlanRequest request = cases.request(model);
        std::vector<Bytes> budgets;
        for (int step = 0; step < 8; ++step)
            budgets.push_back({all_bytes(model, request.sizes).value * static_cast<std::uint64_t>(step) / 5});
        const auto together = make_plans(model, machine, request, budgets);
        for (std::size_t b = 0; b < budgets.size(); ++b) {
            request.vram_budget = budgets[b];
            const auto alone = make_plan(model, machine, request);
            ASSERT_EQ(alone.index(), together[b].index());
            if (!std::holds_alternative<Plan>(alone)) continue;
            ASSERT_EQ(std::get<Plan>(alone).experts, std::get<Plan>(together[b]).experts);
            ASSERT_EQ(std::get<Plan>(alone).decode, std::get<Plan>(together[b]).decode);
        }
    }
}

TEST(MakePlan, RefusesMoreExpertsATokenThanItCanThinkThrough) {
    RandomCases cases(6);
    const ModelDescription model = describe_shape("lfm2moe,n_expert=128,n_expert_used=65:Q4_0");
    try {
        make_plan(model, cases.machine(), {.sizes = {.n_ctx = 64}});
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUnsupportedModel);
    }
}

}  // namespace
}  // namespace lfm
