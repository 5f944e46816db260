// What the driver says is free, and budgets that fall while others hold memory.
#include <chrono>
#include <thread>

#include "backends/device/free_memory_poll.h"
#include "tests/backends/vulkan/told_memory.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

constexpr Bytes kAll{100 << 20};

class FreeMemory : public ValidatedDevice {
protected:
    const vulkan::VulkanInfo info() { return vulkan::list_devices().at(options().index); }
};

VkResult no_extensions(VkPhysicalDevice, const char*, std::uint32_t* n, VkExtensionProperties*) {
    *n = 0;
    return VK_SUCCESS;
}

TEST_F(FreeMemory, IsListedWhereTheDriverTells) {
    {
        const ReplacedCall<PFN_vkEnumerateDeviceExtensionProperties> none(vkEnumerateDeviceExtensionProperties,
                                                                          no_extensions);
        EXPECT_EQ(info().free, std::nullopt);
    }
    ToldMemory told(kAll);
    EXPECT_EQ(info().free, kAll);
    told.others_hold({30 << 20});
    EXPECT_EQ(info().free, Bytes{70 << 20});
    told.others_hold({200 << 20});
    EXPECT_EQ(info().free, Bytes{1});
    Ledger ledger;
    told.others_hold({});
    const auto device = this->device(ledger);
    EXPECT_EQ(info().free, Bytes{kAll.value - told.held().value});
}

TEST_F(FreeMemory, TheBudgetFollowsWhatOthersHold) {
    ToldMemory told(kAll);
    Ledger ledger;
    const auto device = this->device(ledger);
    const Bytes configured = options().budget;
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 20 << 20);
    // The driver need not be asked at every step.
    const auto steps = [&] {
        for (std::uint32_t i = 0; i < FreeMemoryPoll::kMostSteps; ++i) device->begin_step();
    };
    EXPECT_EQ(device->budget(), configured);
    steps();
    EXPECT_EQ(device->budget(), configured);

    told.others_hold({60 << 20});
    EXPECT_EQ(device->budget(), configured) << "asked at the begin of a step only";
    steps();
    EXPECT_EQ(device->budget(), Bytes{40 << 20}) << "what is allocated, and what is left";
    EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 25 << 20); }),
              ErrorCode::kShortfall);

    told.others_hold({90 << 20});
    steps();
    EXPECT_EQ(device->budget(), Bytes{10 << 20}) << "below what is allocated";
    EXPECT_GT(device->allocated(), device->budget());

    told.others_hold({});
    steps();
    EXPECT_EQ(device->budget(), configured);
    device->allocate(MemoryKind::kOwn, Purpose::kExperts, 25 << 20);
}

/// Asking must not take more of a step than FreeMemoryPoll::kPerStep.
TEST_F(FreeMemory, ASlowDriverIsAskedLessOften) {
    static PFN_vkGetPhysicalDeviceMemoryProperties2 told_at_once = nullptr;
    ToldMemory told(kAll);
    Ledger ledger;
    constexpr std::uint32_t kSteps = 64;
    const auto questions = [&] {
        const auto device = this->device(ledger);
        const std::uint64_t at_begin = told.n_questions();
        for (std::uint32_t i = 0; i < kSteps; ++i) device->begin_step();
        return told.n_questions() - at_begin;
    };
    const std::uint64_t of_fast = questions();
    told_at_once = vkGetPhysicalDeviceMemoryProperties2;
    const ReplacedCall<PFN_vkGetPhysicalDeviceMemoryProperties2> slow(
        vkGetPhysicalDeviceMemoryProperties2, [](VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2* all) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            told_at_once(device, all);
        });
    EXPECT_EQ(questions(), kSteps / FreeMemoryPoll::kMostSteps);
    EXPECT_GT(of_fast, kSteps / FreeMemoryPoll::kMostSteps);
}

}  // namespace
}  // namespace lfm::test
