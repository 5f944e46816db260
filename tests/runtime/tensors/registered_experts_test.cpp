// Experts that may travel are registered with the driver of a card, never more than the plan leaves in RAM, and the
// logits stay the same. A driver whose memory is the host's is made to report a discrete card.
#include <gtest/gtest.h>

#if LFM_HAVE_VULKAN

#include <iostream>

#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/backends/vulkan/replaced_call.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=96,n_expert=8,"
    "n_expert_used=2,n_vocab=200:F16";
constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 1};

// Functions that replace the driver's can capture nothing: their state is global.
PFN_vkGetPhysicalDeviceProperties real_properties = nullptr;
PFN_vkAllocateMemory real_allocate = nullptr;
std::uint64_t n_asked = 0, n_accepted = 0, most_accepted = 0;

void as_a_card(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    real_properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

VkResult allocate(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                  VkDeviceMemory* memory) {
    if (imports_memory(*info)) {
        ++n_asked;
        if (n_accepted == most_accepted) return VK_ERROR_OUT_OF_HOST_MEMORY;
        ++n_accepted;
    }
    return real_allocate(device, info, callbacks, memory);
}

double nmse(std::span<const float> a, std::span<const float> b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        norm += double{b[i]} * b[i];
    }
    return error / norm;
}

class RegisteredExperts : public testing::Test {
protected:
    void SetUp() override {
        if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
        real_properties = vkGetPhysicalDeviceProperties;
        real_allocate = vkAllocateMemory;
        n_asked = n_accepted = 0;
        most_accepted = ~std::uint64_t{0};
        card_.emplace(vkGetPhysicalDeviceProperties, as_a_card);
        allocations_.emplace(vkAllocateMemory, allocate);
        Ledger ledger;
        if (!open(ledger)->limits().registers_memory) GTEST_SKIP() << "the driver imports no memory of the host's";
    }

    static std::unique_ptr<Device> open(Ledger& ledger) {
        return open_vulkan({.budget = {64 << 20}, .limits = {kSizes.n_batch, kSizes.n_ctx}}, ledger);
    }

    /// Every layer on the device, the odd experts in RAM.
    Plan plan(std::uint32_t n_slots) const {
        Plan plan = placed_plan(model_, kSizes, Placing::kAllOnDevice);
        for (std::size_t i = 1; i < plan.experts.size(); i += 2) plan.experts[i] = kHost;
        for (std::uint32_t layer = model_.hyper.n_layer_dense; layer < model_.hyper.n_layer; ++layer)
            plan.n_slots[layer] = n_slots;
        return plan;
    }

    struct Run {
        Bytes wanted, registered, in_ram;
    };
    /// Compares each step with the host's.
    Run run(const Plan& plan, Ledger& ledger) const {
        const SessionOptions options{.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2};
        const auto device = open(ledger);
        const Model placed = Model::random(model_, plan, 3, ledger, {device.get()});
        const Model on_host = Model::random(model_, make_host_plan(model_, kSizes), 3, ledger);
        Session session(placed, options, ledger), expected(on_host, options, ledger);
        std::vector<std::int32_t> prompt;
        for (std::int32_t i = 0; i < 16; ++i) prompt.push_back((1 + i * 79) % 200);
        EXPECT_LE(nmse(session.append(prompt), expected.append(prompt)), 1e-5);
        for (std::int32_t token = 0; token < 20; ++token)
            EXPECT_LE(nmse(session.append({&token, 1}), expected.append({&token, 1})), 1e-5) << "token " << token;
        EXPECT_FALSE(session.loss());
        Run run{session.engine().registered().wanted(), session.engine().registered().registered(), {}};
        for (std::uint32_t layer = 1; layer < model_.hyper.n_layer; ++layer) {
            const ExpertSizes& sizes = placed.weights().expert_sizes(layer);
            run.in_ram += Bytes{4 * (sizes.gate + sizes.up + sizes.down)};
        }
        return run;
    }

    ModelDescription model_ = describe_shape(kMoe);

private:
    std::optional<ReplacedCall<PFN_vkGetPhysicalDeviceProperties>> card_;
    std::optional<ReplacedCall<PFN_vkAllocateMemory>> allocations_;
};

TEST_F(RegisteredExperts, AreThoseThatMayTravel) {
    Ledger ledger;
    const Run with_slots = run(plan(2), ledger);
    EXPECT_EQ(with_slots.wanted, with_slots.in_ram);
    EXPECT_GT(with_slots.registered, Bytes{});
    EXPECT_LE(with_slots.registered, with_slots.wanted);
    EXPECT_GT(n_accepted, 0u);
    std::cout << format_bytes(with_slots.registered) << " of " << format_bytes(with_slots.wanted) << "\n";

    n_asked = 0;
    const Run without_bus = run(plan(0), ledger);
    EXPECT_EQ(without_bus.wanted, Bytes{});
    EXPECT_EQ(n_asked, 0u);
    EXPECT_TRUE(ledger.lines().empty());
}

TEST_F(RegisteredExperts, MayBeRefusedEachInTurn) {
    Ledger ledger;
    const Run all = run(plan(2), ledger);
    const std::uint64_t n = n_accepted;
    for (const std::uint64_t most : {std::uint64_t{0}, n / 2, n - 1}) {
        SCOPED_TRACE(most);
        n_accepted = 0;
        most_accepted = most;
        const Run some = run(plan(2), ledger);
        EXPECT_EQ(some.wanted, all.wanted);
        EXPECT_LT(some.registered, all.registered);
        EXPECT_EQ(some.registered == Bytes{}, most == 0);
    }
}

}  // namespace
}  // namespace lfm::test

#else

TEST(RegisteredExperts, AreThoseThatMayTravel) { GTEST_SKIP() << "the Vulkan backend is not built in"; }

#endif
