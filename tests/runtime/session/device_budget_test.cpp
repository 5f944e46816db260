// Budgets from everything down to the least: what the device takes stays within, and is what the plan says.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "memory/error.h"
#include "planner/model/shape.h"
#include "runtime/session/placed.h"
#include "tests/device_kinds.h"
#include "tests/scaled_plan.h"
#if LFM_HAVE_VULKAN
#include <map>
#include <mutex>

#include "tests/backends/vulkan/replaced_call.h"
#endif

namespace lfm::test {
namespace {

#if LFM_HAVE_VULKAN

/// Memory as the driver is asked for it. What stands in for its functions can hold nothing but what outlives it.
struct DriverMemory {
    PFN_vkAllocateMemory allocate = nullptr;
    PFN_vkFreeMemory free = nullptr;
    std::mutex mutex;
    std::map<VkDeviceMemory, std::uint64_t> sizes;
    Bytes now, most;
} driver_memory;

VkResult count_allocation(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                          VkDeviceMemory* memory) {
    const VkResult result = driver_memory.allocate(device, info, callbacks, memory);
    if (result != VK_SUCCESS || imports_memory(*info)) return result;
    const std::lock_guard lock(driver_memory.mutex);
    driver_memory.sizes[*memory] = info->allocationSize;
    driver_memory.now += Bytes{info->allocationSize};
    driver_memory.most = std::max(driver_memory.most, driver_memory.now);
    return result;
}

void count_free(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* callbacks) {
    {
        const std::lock_guard lock(driver_memory.mutex);
        const auto found = driver_memory.sizes.find(memory);
        if (found != driver_memory.sizes.end()) {
            driver_memory.now -= Bytes{found->second};
            driver_memory.sizes.erase(found);
        }
    }
    driver_memory.free(device, memory, callbacks);
}

#endif

constexpr const char* kMoe =
    "lfm2moe,n_layer=8,n_layer_dense=2,n_embd=256,n_head=4,n_head_kv=2,n_ff=512,n_ff_exp=128,n_expert=16,"
    "n_expert_used=4,n_vocab=600:Q4_0";
constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 32, .n_outputs = 1};
constexpr int kBudgets = 20;
constexpr std::uint32_t kPrompt = 33, kDecoded = 10;

struct RunAt {
    Bytes budget, planned, peak;
    std::uint32_t n_experts = 0;
    std::vector<std::int32_t> text;
};

class DeviceBudget : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = kind().absence(); !why.empty()) GTEST_SKIP() << why;
        machine_ = scaled_machine(context_of(kind()), kind().planned_as);
        least_ = budget_at(0, description_, machine_, kSizes);
        most_ = budget_at(1, description_, machine_, kSizes);
    }
    const DeviceKind& kind() const { return GetParam(); }

    /// The greedy continuation of a prompt.
    static std::vector<std::int32_t> text(Session& session) {
        std::vector<std::int32_t> tokens;
        for (std::uint32_t i = 0; i < kPrompt; ++i) tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 600));
        for (std::uint32_t i = 0; i < kDecoded; ++i) {
            const auto logits = i == 0 ? session.append(tokens) : session.append(std::span(tokens).last(1));
            tokens.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
        }
        return tokens;
    }

    /// What was not planned comes as `notes`.
    RunAt run(Bytes budget, std::string& notes) {
        Ledger ledger;
        Placed placed =
            place({.model = description_,
                   .session = {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2},
                   .plan = Planning{machine_, {.sizes = kSizes, .vram_budget = budget}},
                   .open = [&](const DeviceOptions& options) { return kind().open(options, ledger); },
                   .load = [&](const Plan& plan,
                               const DeviceLoad& to) { return Model::random(description_, plan, 5, ledger, to); },
                   .progress = {},
                   .note = [&](const std::string& note) { notes += note + '\n'; }},
                  ledger);
        RunAt result{.budget = budget, .planned = placed.plan().used(kDevice), .text = text(placed.session())};
        result.n_experts = placed.plan().n_experts_on(kDevice);
        if (placed.device() != nullptr) result.peak = placed.device()->peak();
        return result;
    }

    ModelDescription description_ = describe_shape(kMoe);
    MachineProfile machine_;
    Bytes least_, most_;
};

TEST_P(DeviceBudget, IsKeptFromEverythingDownToTheLeast) {
    if (const std::string why = left_to_full(kind()); !why.empty()) GTEST_SKIP() << why;
    const int n = kind().is_slow() ? 3 : kBudgets;
    std::uint32_t fewest = ~0u, most = 0;
    for (int i = 0; i < n; ++i) {
        const double share = 1 - static_cast<double>(i) / (n - 1);
        const Bytes budget = budget_at(share, description_, machine_, kSizes);
        SCOPED_TRACE(format_bytes(budget));
        std::string notes;
        const RunAt first = run(budget, notes);
        EXPECT_EQ(notes, "");
        EXPECT_LE(first.peak, budget);
        EXPECT_LE(first.planned, budget);
        if (first.planned.value > 0) {
            EXPECT_NEAR(static_cast<double>(first.peak.value) / static_cast<double>(first.planned.value), 1, 0.02);
        }
        std::cout << "budget " << format_bytes(budget) << ": planned " << format_bytes(first.planned) << ", peak "
                  << format_bytes(first.peak) << ", " << first.n_experts << " experts on the device\n";
        EXPECT_EQ(run(budget, notes).text, first.text);
        fewest = std::min(fewest, first.n_experts);
        most = std::max(most, first.n_experts);
    }
    EXPECT_LT(fewest, most);
    EXPECT_EQ(most, 6 * 16);
}

TEST_P(DeviceBudget, BelowTheLeastIsAnErrorWithTheFigures) {
    const auto result = make_plan(description_, machine_, {.sizes = kSizes, .vram_budget = Bytes{least_.value - 1}});
    ASSERT_TRUE(std::holds_alternative<Shortfall>(result));
    EXPECT_EQ(std::get<Shortfall>(result).needed, least_);
    EXPECT_EQ(std::get<Shortfall>(result).available, Bytes{least_.value - 1});
    std::string notes;
    try {
        run({least_.value - 1}, notes);
        FAIL() << "expected an error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kShortfall);
        EXPECT_NE(std::string(error.what()).find(format_bytes(least_)), std::string::npos) << error.what();
    }
}

/// A driver that gives less than the plan was made for.
TEST_P(DeviceBudget, ADeviceThatGivesLessIsAnErrorWithTheFigures) {
    Ledger ledger;
    const Plan plan = std::get<Plan>(make_plan(description_, machine_, {.sizes = kSizes, .vram_budget = most_}));
    const Bytes less{plan.used(kDevice).value * 9 / 10};
    const auto device = kind().open({.budget = less, .limits = {kSizes.n_batch, kSizes.n_ctx}}, ledger);
    try {
        const Model model = Model::random(description_, plan, 5, ledger, {device.get()});
        Session session(model, {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2}, ledger);
        FAIL() << "expected an error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kShortfall);
        EXPECT_NE(std::string(error.what()).find("expected"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(format_bytes(less)), std::string::npos) << error.what();
    }
    EXPECT_LE(device->peak(), less);
}

#if LFM_HAVE_VULKAN
/// By the driver's own calls, not by anybody's ledger.
TEST(DeviceBudgetOfTheDriver, HoldsWhatIsAllocated) {
    if (const std::string why = vulkan_absence(); !why.empty()) GTEST_SKIP() << why;
    Ledger ledger;
    const DeviceOptions options{.budget = {std::uint64_t{64} << 20}, .limits = {kSizes.n_batch, kSizes.n_ctx}};
    open_vulkan(options, ledger);  // finds the driver's functions
    driver_memory.allocate = vkAllocateMemory;
    driver_memory.free = vkFreeMemory;
    const ReplacedCall allocations(vkAllocateMemory, &count_allocation);
    const ReplacedCall frees(vkFreeMemory, &count_free);
    const ModelDescription description = describe_shape(kMoe);
    const MachineProfile machine = scaled_machine({});
    for (int i = 0; i < kBudgets; i += vulkan_is_slow() ? 9 : 1) {
        const Bytes budget = budget_at(1 - i / (kBudgets - 1.0), description, machine, kSizes);
        SCOPED_TRACE(format_bytes(budget));
        driver_memory.most = {};
        Bytes planned;
        {
            const Plan plan = std::get<Plan>(make_plan(description, machine, {.sizes = kSizes, .vram_budget = budget}));
            planned = plan.used(kDevice);
            const auto device = open_vulkan({.budget = budget, .limits = options.limits}, ledger);
            const Model model = Model::random(description, plan, 5, ledger, {device.get()});
            Session session(model, {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2}, ledger);
            for (std::int32_t token = 1; token < 40; ++token) session.append({&token, 1});
            EXPECT_LE(driver_memory.most, device->peak());
        }
        EXPECT_LE(driver_memory.most, budget);
        EXPECT_NEAR(static_cast<double>(driver_memory.most.value) / static_cast<double>(planned.value), 1, 0.02);
        EXPECT_EQ(driver_memory.now, Bytes{}) << "given back";
    }
}
#endif

INSTANTIATE_TEST_SUITE_P(Devices, DeviceBudget, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
