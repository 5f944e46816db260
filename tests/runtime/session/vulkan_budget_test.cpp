// Budgets from everything down to the least on a Vulkan device: what is taken is counted at the driver's calls.
#include <gtest/gtest.h>

#if LFM_HAVE_VULKAN

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>

#include "backends/vulkan/vulkan_device.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/backends/vulkan/replaced_call.h"
#include "tests/golden.h"
#include "tests/scaled_plan.h"

namespace lfm::test {
namespace {

constexpr SessionSizes kSizes{.n_ctx = 128, .n_batch = 20, .n_outputs = 1};
constexpr int kBudgets = 20;
constexpr std::size_t kPrompt = 20, kDecoded = 8;

/// Bytes by vkAllocateMemory and vkFreeMemory. What stands in for them can hold nothing but what outlives it.
struct DriverCount {
    PFN_vkAllocateMemory allocate = nullptr;
    PFN_vkFreeMemory free = nullptr;
    std::mutex mutex;
    std::map<VkDeviceMemory, std::uint64_t> sizes;
    std::uint64_t now = 0, most = 0;
};
DriverCount driver;

VkResult count_allocation(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                          VkDeviceMemory* memory) {
    const VkResult result = driver.allocate(device, info, callbacks, memory);
    const std::lock_guard lock(driver.mutex);
    if (result != VK_SUCCESS || imports_memory(*info)) return result;
    driver.sizes[*memory] = info->allocationSize;
    driver.most = std::max(driver.most, driver.now += info->allocationSize);
    return result;
}

void count_free(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* callbacks) {
    {
        const std::lock_guard lock(driver.mutex);
        if (const auto found = driver.sizes.find(memory); found != driver.sizes.end()) {
            driver.now -= found->second;
            driver.sizes.erase(found);
        }
    }
    driver.free(device, memory, callbacks);
}

PFN_vkGetPhysicalDeviceProperties real_properties = nullptr;
void as_a_card(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    real_properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

struct RunAt {
    Bytes planned, counted;
    Bytes planned_scratch, scratch;
    std::uint32_t n_layers = 0, n_experts = 0;
    std::vector<std::int32_t> text, again;
};

/// The first usable device; `why` there is none.
std::optional<vulkan::VulkanInfo> first_device(std::string& why) {
    why = "no Vulkan device";
    for (const vulkan::VulkanInfo& info : vulkan::list_devices()) {
        if (info.why_unusable.empty()) return info;
        why = info.name + " lacks" + info.why_unusable;
    }
    return std::nullopt;
}

class VulkanBudget : public testing::Test {
protected:
    void SetUp() override {
        std::string why;
        info_ = first_device(why);
        if (!info_) GTEST_SKIP() << why;
        driver.allocate = vkAllocateMemory;
        driver.free = vkFreeMemory;
        driver.sizes.clear();
        driver.now = driver.most = 0;
        allocating_.emplace(vkAllocateMemory, count_allocation);
        freeing_.emplace(vkFreeMemory, count_free);
    }
    void TearDown() override {
        if (!info_) return;
        EXPECT_EQ(driver.now, 0u) << "the driver's memory was not given back";
        freeing_.reset();
        allocating_.reset();
    }

    /// Without golden data a model of random weights takes its place.
    void choose(const char* golden, const char* shape) {
        const auto dir = golden_dir();
        if (dir) path_ = *dir / "models" / golden;
        if (std::error_code error; dir && !std::filesystem::exists(*path_, error)) path_.reset();
        std::cout << (path_ ? golden : shape) << '\n';
        choose(path_ ? describe_model(GgufFile::open(*path_)) : describe_shape(shape));
    }
    void choose(ModelDescription description) {
        description_ = std::move(description);
        machine_ = scaled_machine(info_->context);
        machine_.devices.front().backend = "vulkan";
    }

    Model load(const Plan& plan, Ledger& ledger, Device* device) const {
        if (!path_) return Model::random(description_, plan, 5, ledger, {device});
        return Model::load(GgufFile::open(*path_), description_, plan, ledger, {device});
    }

    std::vector<std::int32_t> text(Session& session) const {
        session.reset();
        std::vector<std::int32_t> tokens;
        for (std::size_t i = 0; i < kPrompt; ++i)
            tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % description_.hyper.n_vocab));
        for (std::size_t i = 0; i < kDecoded; ++i) {
            const auto logits = i == 0 ? session.append(tokens) : session.append(std::span(tokens).last(1));
            tokens.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
        }
        return tokens;
    }

    RunAt run(Bytes budget) {
        const Plan plan = std::get<Plan>(make_plan(description_, machine_, {.sizes = sizes_, .vram_budget = budget}));
        RunAt result{.planned = plan.used(kDevice), .n_experts = plan.n_experts_on(kDevice)};
        result.n_layers = static_cast<std::uint32_t>(std::ranges::count(plan.layers, kDevice));
        for (const MemoryLine& line : plan.memory)
            if (line.device == kDevice && line.use == MemoryUse::kScratch) result.planned_scratch = line.bytes;
        driver.most = driver.now;
        Ledger ledger;
        std::unique_ptr<Device> device;
        if (plan.uses_device())
            device = vulkan::make_vulkan_device(
                {.index = info_->index, .budget = budget, .limits = {sizes_.n_batch, sizes_.n_ctx}}, ledger);
        const Model model = load(plan, ledger, device.get());
        // The cache's later changes would make a second text of the session another one.
        Session session(model,
                        {.n_ctx = sizes_.n_ctx,
                         .n_batch = sizes_.n_batch,
                         .n_outputs = sizes_.n_outputs,
                         .n_threads = 2,
                         .kv = sizes_.kv,
                         .adaptation = Adaptation::kOff},
                        ledger);
        result.text = text(session);
        result.again = text(session);
        EXPECT_FALSE(session.loss()) << *session.loss();
        if (device != nullptr) {
            EXPECT_EQ(device->peak().value, driver.most);
        }
        result.scratch = ledger.total(kDevice, Purpose::kScratch);
        result.counted = {driver.most};
        return result;
    }

    /// Returns by which share the plan was above what was counted.
    static double check(const RunAt& at, Bytes budget) {
        EXPECT_LE(at.counted, budget);
        EXPECT_LE(at.planned, budget);
        EXPECT_LE(at.counted, at.planned);
        EXPECT_LE(at.scratch, at.planned_scratch);
        if (at.counted.value == 0) return 0;
        const double over = static_cast<double>(at.planned.value) / static_cast<double>(at.counted.value) - 1;
        EXPECT_LE(over, 0.02) << "planned " << at.planned.value << ", counted " << at.counted.value;
        return over;
    }

    void keep_budgets(int n_budgets) {
        std::uint32_t fewest = ~0u, most = 0;
        double farthest = 0;
        for (int i = 0; i < n_budgets; ++i) {
            const Bytes budget =
                budget_at(1 - static_cast<double>(i) / (n_budgets - 1), description_, machine_, sizes_);
            SCOPED_TRACE(format_bytes(budget));
            const RunAt at = run(budget);
            const double over = check(at, budget);
            EXPECT_EQ(at.text, at.again);
            EXPECT_EQ(at.text.size(), kPrompt + kDecoded);
            farthest = std::max(farthest, over);
            fewest = std::min(fewest, at.n_experts);
            most = std::max(most, at.n_experts);
            std::cout << "budget " << budget.value << ": planned " << at.planned.value << ", counted "
                      << at.counted.value << " (+" << over * 100 << " %), " << at.n_layers << " layers and "
                      << at.n_experts << " experts on the device\n";
        }
        std::cout << "planned at most " << farthest * 100 << " % more than counted\n";
        const HyperParameters& hyper = description_.hyper;
        EXPECT_EQ(most, (hyper.n_layer - hyper.n_layer_dense) * hyper.n_expert);
        EXPECT_LT(fewest, most);
    }

    std::optional<vulkan::VulkanInfo> info_;
    std::optional<std::filesystem::path> path_;
    ModelDescription description_;
    MachineProfile machine_;
    SessionSizes sizes_ = kSizes;

private:
    std::optional<ReplacedCall<PFN_vkAllocateMemory>> allocating_;
    std::optional<ReplacedCall<PFN_vkFreeMemory>> freeing_;
};

constexpr const char* kShape =
    "lfm2moe,n_layer=6,n_layer_dense=1,n_embd=256,n_head=4,n_head_kv=2,n_ff=512,n_ff_exp=256,n_expert=16,"
    "n_expert_used=4,n_vocab=600:Q4_0";

TEST_F(VulkanBudget, IsKeptFromEverythingDownToTheLeast) {
    choose("tinymoe-Q4_0.gguf", kShape);
    keep_budgets(kBudgets);
}

/// Experts of several types, of which the router and some matrices are not quantised.
TEST_F(VulkanBudget, IsKeptForMixedTypes) {
    choose("tinymoe-Q4_K_M.gguf", "lfm2moe,n_embd=256,n_ff=512,n_ff_exp=256:Q4_K_M");
    keep_budgets(std::getenv("LFM_FULL") != nullptr ? kBudgets : 3);
}

/// Memory that the host cannot reach is written through buffers of the device's own, which count too.
TEST_F(VulkanBudget, HoldsTheBuffersOfACard) {
    real_properties = vkGetPhysicalDeviceProperties;
    const ReplacedCall<PFN_vkGetPhysicalDeviceProperties> card(vkGetPhysicalDeviceProperties, as_a_card);
    std::string why;
    info_ = first_device(why);
    ASSERT_TRUE(info_) << why;
    EXPECT_GE(info_->context.value, 8u << 20);
    choose("tinymoe-Q4_0.gguf", kShape);
    keep_budgets(2);
}

TEST_F(VulkanBudget, IsWhatAnyShapeTakes) {
    double farthest = 0;
    for (const char* shape :
         {"lfm2:Q4_0", "lfm2moe:Q4_0", "lfm2moe,n_expert=12,n_expert_used=3,output=separate:Q8_0",
          "lfm2,n_layer=5,attention=0.4,l_cache=4,n_vocab=333:F16",
          "lfm2moe,n_layer=3,n_layer_dense=0,attention=1:Q6_K", "lfm2moe,n_layer=6,n_layer_dense=6:Q4_K_M"})
        for (const SessionSizes& sizes :
             {SessionSizes{.n_ctx = 60, .n_batch = 7, .n_outputs = 1},
              SessionSizes{.n_ctx = 513, .n_batch = 128, .n_outputs = 5, .kv = {DType::kQ8_0, DType::kF32}}}) {
            SCOPED_TRACE(std::string(shape) + ", batches of " + std::to_string(sizes.n_batch));
            choose(describe_shape(shape));
            sizes_ = sizes;
            for (const double share : {1.0, 0.5}) {
                const Bytes budget = budget_at(share, description_, machine_, sizes_);
                const RunAt at = run(budget);
                farthest = std::max(farthest, check(at, budget));
                if (share == 1) {
                    EXPECT_GT(at.counted.value, 0u);
                }
            }
        }
    std::cout << "planned at most " << farthest * 100 << " % more than counted\n";
}

TEST_F(VulkanBudget, BelowTheLeastIsAShortfallWithFigures) {
    choose("tinymoe-Q4_0.gguf", kShape);
    const Bytes least = budget_at(0, description_, machine_, sizes_);
    EXPECT_LE(run(least).counted, least);
    const auto result = make_plan(description_, machine_, {.sizes = sizes_, .vram_budget = Bytes{least.value - 1}});
    ASSERT_TRUE(std::holds_alternative<Shortfall>(result));
    EXPECT_EQ(std::get<Shortfall>(result).device, kDevice);
    EXPECT_EQ(std::get<Shortfall>(result).needed, least);
    EXPECT_EQ(std::get<Shortfall>(result).available.value, least.value - 1);
}

}  // namespace
}  // namespace lfm::test

#else

TEST(VulkanBudget, IsKeptFromEverythingDownToTheLeast) { GTEST_SKIP() << "the Vulkan backend is not built in"; }

#endif
