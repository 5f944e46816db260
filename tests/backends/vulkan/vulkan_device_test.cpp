// The contract of device.h on a real driver: what is listed, memory within the budget, transfers, loss.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "tests/backends/vulkan/replaced_call.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

class VulkanDevice : public ValidatedDevice {};

TEST_F(VulkanDevice, IsListedWithWhatItIs) {
    const auto infos = vulkan::list_devices();
    ASSERT_FALSE(infos.empty());
    for (std::uint32_t i = 0; i < infos.size(); ++i) {
        EXPECT_EQ(infos[i].index, i);
        EXPECT_FALSE(infos[i].name.empty());
        EXPECT_GT(infos[i].memory.value, 0u);
        std::cout << "device " << i << ": " << infos[i].name << ", " << format_bytes(infos[i].memory) << ", "
                  << infos[i].driver << (infos[i].kind == vulkan::GpuKind::kCpu ? ", emulated" : "")
                  << (infos[i].why_unusable.empty() ? "" : ", unusable: ") << infos[i].why_unusable << '\n';
    }
    Ledger ledger;
    auto beyond = options();
    beyond.index = static_cast<std::uint32_t>(infos.size());
    EXPECT_EQ(error_of([&] { vulkan::make_vulkan_device(beyond, ledger); }), ErrorCode::kUsage);
}

TEST_F(VulkanDevice, MemoryIsCountedAndRefusedBeyondTheBudget) {
    Ledger ledger;
    const auto device = this->device(ledger);
    const Bytes before = device->allocated();
    {
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kKvCache, 1000);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.address()) % 256, 0u);
        EXPECT_EQ(block.size(), 1000u);
        EXPECT_TRUE(block.host().empty());
        const DeviceBlock shared = device->allocate(MemoryKind::kShared, Purpose::kStaging, 512);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(shared.address()) % 256, 0u);
        EXPECT_EQ(shared.host().size(), 512u);
        EXPECT_GE(device->allocated().value, before.value + 1512);
        EXPECT_GE(ledger.total(kSelf, Purpose::kKvCache).value, 1000u);
        EXPECT_EQ(ledger.total(kSelf), device->allocated());
        const DeviceBlock nothing = device->allocate(MemoryKind::kOwn, Purpose::kKvCache, 0);
        EXPECT_EQ(nothing.size(), 0u);
    }
    EXPECT_EQ(device->allocated(), before);
    EXPECT_GE(device->peak().value, before.value + 1512);
    const DeviceBlock most = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 63 << 20);
    for (const std::size_t size : {std::size_t{1} << 20, std::size_t{8} << 30, ~std::size_t{0}}) try {
            device->allocate(MemoryKind::kOwn, Purpose::kExperts, size);
            ADD_FAILURE() << size;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kShortfall);
            EXPECT_NE(std::string(error.what()).find("of the budget of 64.0 MiB, found "), std::string::npos)
                << error.what();
        }
    EXPECT_EQ(ledger.total(kSelf), device->allocated());
    EXPECT_LE(device->peak(), device->budget());
}

TEST_F(VulkanDevice, ABlockLargerThanTheDriversIsRefused) {
    Ledger ledger;
    auto options = this->options();
    options.budget = {~std::uint64_t{0}};
    const auto device = vulkan::make_vulkan_device(options, ledger);
    const std::uint64_t largest = device->limits().largest_block.value;
    EXPECT_GE(largest, std::uint64_t{1} << 29);
    for (const std::uint64_t size : {largest + 1, ~std::uint64_t{0}})
        EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, size); }),
                  ErrorCode::kShortfall);
}

TEST_F(VulkanDevice, ADriverThatRefusesIsAShortfall) {
    Ledger ledger;
    const auto device = this->device(ledger);
    const Bytes before = device->allocated();
    {
        const ReplacedCall refusing(
            vkAllocateMemory, +[](VkDevice, const VkMemoryAllocateInfo*, const VkAllocationCallbacks*,
                                  VkDeviceMemory*) { return VK_ERROR_OUT_OF_DEVICE_MEMORY; });
        EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 4096); }),
                  ErrorCode::kShortfall);
    }
    EXPECT_EQ(device->allocated(), before);
    EXPECT_EQ(ledger.total(kSelf), before);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 4096);  // not for ever
}

TEST_F(VulkanDevice, BytesGoThereAndBack) {
    Ledger ledger;
    const auto device = this->device(ledger);
    for (const std::size_t size : {1u, 3u, 255u, 4096u, 100'003u, (5u << 20) + 7}) {
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, size);
        const auto bytes = pattern(size, 1);
        const std::size_t cut = size / 3;
        const CopyRegion regions[] = {{block.address() + cut, bytes.data() + cut, size - cut},
                                      {block.address(), bytes.data(), cut}};
        device->upload(regions);
        std::vector<std::byte> back(size);
        device->download(back, block.address());
        EXPECT_EQ(back, bytes);
        const auto other = pattern(size, 2);
        const CopyRegion again[] = {{block.address() + cut, other.data() + cut, size - cut},
                                    {block.address(), other.data(), cut}};
        device->wait(device->copy(again, {}));
        device->download(std::span(back).subspan(cut), block.address() + cut);
        device->download(std::span(back).first(cut), block.address());
        EXPECT_EQ(back, other) << size;
    }
}

TEST_F(VulkanDevice, ALostDeviceStaysLostAndReleasesWhoWaits) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    device->begin_step();
    std::optional<ErrorCode> seen;
    std::thread waiter([&] { seen = error_of([&] { device->wait({Timeline::kHostSignals, 100}); }); });
    device->submit(work.program, {});
    {
        const ReplacedCall losing(
            vkQueueSubmit, +[](VkQueue, std::uint32_t, const VkSubmitInfo*, VkFence) { return VK_ERROR_DEVICE_LOST; });
        EXPECT_EQ(error_of([&] { device->flush(); }), ErrorCode::kDeviceLost);
    }
    waiter.join();
    EXPECT_EQ(seen, ErrorCode::kDeviceLost);
    std::vector<std::byte> host(8);
    const CopyRegion region{work.block.address(), host.data(), 8};
    const auto lost = [&](auto&& call) { EXPECT_EQ(error_of(call), ErrorCode::kDeviceLost); };
    lost([&] { device->flush(); });
    lost([&] { device->submit(work.program, {}); });
    lost([&] { device->begin_step(); });
    lost([&] { device->upload(std::span(&region, 1)); });
    lost([&] { device->download(host, work.block.address()); });
    lost([&] { device->copy(std::span(&region, 1), {}); });
    lost([&] { device->wait({Timeline::kCompute, 1}); });
    lost([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 64); });
    lost([&] { device->record({}, work.step); });
    device->signal();
}

TEST_F(VulkanDevice, TooSmallABudgetOrNoLayerIsSaidAtOnce) {
    Ledger ledger;
    auto options = this->options();
    options.budget = {0};
    // A device that allocates nothing when it is opened fails only when a program is recorded.
    EXPECT_EQ(error_of([&] {
                  const auto device = vulkan::make_vulkan_device(options, ledger);
                  device->record({}, StepParams{});
              }),
              ErrorCode::kShortfall);
    EXPECT_TRUE(ledger.lines().empty());
}

}  // namespace
}  // namespace lfm::test
