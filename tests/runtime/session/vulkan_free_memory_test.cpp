// Others take the memory of a Vulkan device while a model runs on it: slots are given up within the steps between two
// looks at it, and the numbers stay right.
#include <gtest/gtest.h>

#if LFM_HAVE_VULKAN

#include <iostream>

#include "backends/device/free_memory_poll.h"
#include "planner/model/shape.h"
#include "runtime/machine/devices.h"
#include "runtime/session/session.h"
#include "tests/backends/vulkan/told_memory.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=5,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_expert=8,"
    "n_expert_used=2,n_vocab=200:F16";
constexpr SessionSizes kSizes{.n_ctx = 128, .n_batch = 16, .n_outputs = 1};
constexpr Bytes kBudget{48 << 20}, kAll{128 << 20};
constexpr std::uint32_t kSlots = 4;

/// Layers on the device, their experts in RAM but for those in slots.
Plan plan_with_slots(const ModelDescription& model) {
    Plan plan = placed_plan(model, kSizes, Placing::kAllOnDevice);
    std::ranges::fill(plan.experts, kHost);
    for (std::uint32_t layer = model.hyper.n_layer_dense; layer < model.hyper.n_layer; ++layer)
        plan.n_slots[layer] = kSlots;
    return plan;
}

double nmse(std::span<const float> a, std::span<const float> b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        norm += double{b[i]} * b[i];
    }
    return error / norm;
}

std::int32_t token(std::uint32_t i) { return static_cast<std::int32_t>((1 + i * 7919) % 200); }

TEST(VulkanFreeMemory, IsFoundWithTheDevice) {
    if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
    ToldMemory told(kAll);
    told.others_hold({28 << 20});
    const auto device = vulkan_device();
    ASSERT_TRUE(device);
    EXPECT_EQ(device->description.free, Bytes{100 << 20});
}

TEST(VulkanFreeMemory, SlotsAreGivenUpWhileOthersHoldIt) {
    if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
    const ModelDescription model = describe_shape(kMoe);
    const Plan plan = plan_with_slots(model), host_plan = make_host_plan(model, kSizes);
    constexpr std::uint32_t kAfter = FreeMemoryPoll::kMostSteps + 2;
    Ledger ledger;
    const Model on_host = Model::random(model, host_plan, 3, ledger);
    const SessionOptions options{.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2};

    ToldMemory told(kAll);
    const auto device = open_vulkan({.budget = kBudget, .limits = {kSizes.n_batch, kSizes.n_ctx}}, ledger);
    const Model placed = Model::random(model, plan, 3, ledger, {device.get()});
    Session expected(on_host, options, ledger), session(placed, options, ledger);
    std::uint32_t n_tokens = 0;
    const auto steps = [&](std::uint32_t n) {
        for (; n > 0; --n, ++n_tokens) {
            const std::int32_t next = token(n_tokens);
            EXPECT_LE(nmse(session.append({&next, 1}), expected.append({&next, 1})), 1e-5) << "token " << n_tokens;
        }
    };
    const auto given_up = [&] { return session.engine().totals().given_up; };
    const Bytes slots = ledger.total(device->id(), Purpose::kExpertSlots);
    steps(kAfter);
    EXPECT_EQ(given_up(), Bytes{});
    EXPECT_EQ(ledger.total(device->id(), Purpose::kExpertSlots), slots);

    // What is left is a little less than nothing: a layer's slots make up for it.
    told.others_hold({kAll.value - told.held().value + 1000});
    const Bytes before = told.held();
    steps(kAfter);
    EXPECT_GT(given_up(), Bytes{});
    EXPECT_LE(device->allocated(), device->budget());
    EXPECT_EQ(told.held(), Bytes{before.value - given_up().value}) << "the driver has it back";
    EXPECT_LT(given_up(), slots) << "no more than needed";
    EXPECT_GT(session.engine().residency().hits().cached, 0u);

    const Bytes first = given_up();
    steps(kAfter);
    EXPECT_EQ(given_up(), first);

    told.others_hold(kAll);
    steps(20);
    EXPECT_FALSE(session.loss());
    steps(n_tokens + kAfter < kSizes.n_ctx ? kAfter : 0);
    EXPECT_EQ(ledger.total(device->id(), Purpose::kExpertSlots), Bytes{});
}

}  // namespace
}  // namespace lfm::test

#else

TEST(VulkanFreeMemory, IsFoundWithTheDevice) { GTEST_SKIP() << "the Vulkan backend is not built in"; }

#endif
