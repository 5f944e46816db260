// Host memory that a card's copies read without staging: bytes at any offset, refusals, an end without a leak. A driver
// whose memory is the host's is made to report a discrete card, as in staging_test.cpp.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tests/backends/vulkan/replaced_call.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

constexpr std::size_t kPage = 4096, kHalf = 4 << 20;
constexpr std::size_t kChunk = 9 << 20;  // the largest import; must exceed what staging allocates

// Functions that replace the driver's can capture nothing: their state is global.
struct Driver {
    PFN_vkGetPhysicalDeviceProperties properties = nullptr;
    PFN_vkGetPhysicalDeviceProperties2 properties2 = nullptr;
    PFN_vkAllocateMemory allocate = nullptr;
    PFN_vkFreeMemory free = nullptr;
    PFN_vkCmdCopyBuffer copy = nullptr;
    std::uint64_t n_imports = 0, refused = 0;  // refused: the number of the import that fails; 0: none
    std::set<VkDeviceMemory> imported = {};
    VkDeviceSize largest_copy = 0;
} driver;

void as_a_card(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    driver.properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

void with_small_blocks(VkPhysicalDevice device, VkPhysicalDeviceProperties2* properties) {
    driver.properties2(device, properties);
    for (auto* at = static_cast<VkBaseOutStructure*>(properties->pNext); at != nullptr; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
            reinterpret_cast<VkPhysicalDeviceVulkan11Properties*>(at)->maxMemoryAllocationSize = kChunk + (1 << 16);
}

VkResult allocate(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                  VkDeviceMemory* memory) {
    if (!imports_memory(*info)) return driver.allocate(device, info, callbacks, memory);
    if (++driver.n_imports == driver.refused) return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    const VkResult result = driver.allocate(device, info, callbacks, memory);
    if (result == VK_SUCCESS) driver.imported.insert(*memory);
    return result;
}

void free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* callbacks) {
    driver.imported.erase(memory);
    driver.free(device, memory, callbacks);
}

void watch_copy(VkCommandBuffer commands, VkBuffer from, VkBuffer to, std::uint32_t n, const VkBufferCopy* regions) {
    for (std::uint32_t i = 0; i < n; ++i) driver.largest_copy = std::max(driver.largest_copy, regions[i].size);
    driver.copy(commands, from, to, n, regions);
}

class HostImports : public ValidatedDevice {
protected:
    void SetUp() override {
        ValidatedDevice::SetUp();
        if (IsSkipped()) return;
        driver = {.properties = vkGetPhysicalDeviceProperties,
                  .properties2 = vkGetPhysicalDeviceProperties2,
                  .allocate = vkAllocateMemory,
                  .free = vkFreeMemory,
                  .copy = vkCmdCopyBuffer};
        replaced_.emplace();
        Ledger ledger;
        if (!device(ledger)->limits().registers_memory) GTEST_SKIP() << "the driver imports no memory of the host's";
    }
    void TearDown() override {
        replaced_.reset();
        EXPECT_TRUE(driver.imported.empty());
        ValidatedDevice::TearDown();
    }

    /// `size` bytes that begin one byte after the start of a page.
    std::span<std::byte> memory(std::size_t size, std::size_t seed) {
        const std::size_t whole = (size + 1 + kPage - 1) / kPage * kPage;
        memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, whole)));
        for (std::size_t i = 0; i < whole; ++i) memory_.get()[i] = static_cast<std::byte>(i * 37 + i / 253 + seed);
        return {memory_.get() + 1, size};
    }

    /// Copies `from` to the device and compares what arrived.
    void expect_arrives(Device& device, std::span<const std::byte> from) {
        const DeviceBlock block = device.allocate(MemoryKind::kOwn, Purpose::kExperts, from.size() + 3);
        const CopyRegion region{block.address() + 3, from.data(), from.size()};
        device.wait(device.copy({&region, 1}, {}));
        std::vector<std::byte> back(from.size());
        device.download(back, block.address() + 3);
        EXPECT_TRUE(std::ranges::equal(back, from)) << from.size() << " bytes";
    }

private:
    struct Replaced {
        ReplacedCall<PFN_vkGetPhysicalDeviceProperties> card{vkGetPhysicalDeviceProperties, as_a_card};
        ReplacedCall<PFN_vkGetPhysicalDeviceProperties2> blocks{vkGetPhysicalDeviceProperties2, with_small_blocks};
        ReplacedCall<PFN_vkAllocateMemory> allocations{vkAllocateMemory, allocate};
        ReplacedCall<PFN_vkFreeMemory> frees{vkFreeMemory, free_memory};
        ReplacedCall<PFN_vkCmdCopyBuffer> copies{vkCmdCopyBuffer, watch_copy};
    };
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    std::optional<Replaced> replaced_;
    std::unique_ptr<std::byte, Free> memory_;
};

TEST_F(HostImports, BytesArriveFromAnywhere) {
    const auto all = memory(2 * kChunk + (1 << 20) + 5, 1);
    Ledger ledger;
    const auto device = this->device(ledger);
    const Bytes before = device->allocated();
    const HostRegistration registered = device->register_memory(all);
    EXPECT_EQ(registered.bytes().value, 2 * kChunk + (1 << 20) - kPage) << "whole pages, none of the edges";
    EXPECT_EQ(driver.n_imports, 3u);
    EXPECT_EQ(device->allocated(), before) << "it is RAM";
    EXPECT_EQ(ledger.total(kSelf), device->allocated());

    // Edges of pages and chunks, and within; the first and the last bytes are in no whole page.
    const std::size_t offsets[] = {0, kPage - 2, kPage - 1, kPage, 5 * kPage + 77, kChunk - 1, kPage - 1 + kChunk - 9};
    for (const std::size_t offset : offsets)
        for (const std::size_t size : {std::size_t{1}, std::size_t{10}, kPage, kHalf + 3})
            expect_arrives(*device, all.subspan(offset, size));
    for (const std::size_t size : {std::size_t{1}, kPage, kHalf + 11}) expect_arrives(*device, all.last(size));
    driver.largest_copy = 0;
    expect_arrives(*device, all.subspan(100, kChunk - 300));
    EXPECT_GT(driver.largest_copy, kHalf) << "not by way of staging";
}

TEST_F(HostImports, MemoryBesideItIsStaged) {
    const auto all = memory(kHalf, 2);
    Ledger ledger;
    const auto device = this->device(ledger);
    const HostRegistration first = device->register_memory(all.subspan(0, 10 * kPage));
    const HostRegistration second = device->register_memory(all.subspan(20 * kPage, 30 * kPage));
    EXPECT_EQ(device->register_memory(all.subspan(100, 3000)).bytes(), Bytes{}) << "no whole page";
    EXPECT_EQ(device->register_memory({}).bytes(), Bytes{});
    expect_arrives(*device, all);
    expect_arrives(*device, all.subspan(9 * kPage, 13 * kPage));
    expect_arrives(*device, all.subspan(60 * kPage, 13 * kPage));
}

TEST_F(HostImports, WhatIsRefusedIsStaged) {
    const auto all = memory(3 * kChunk, 3);
    for (std::uint64_t refused = 1; refused <= 3; ++refused) {
        driver.n_imports = 0;
        driver.refused = refused;
        Ledger ledger;
        const auto device = this->device(ledger);
        const HostRegistration registered = device->register_memory(all);
        const std::uint64_t whole = 3 * kChunk - kPage;
        EXPECT_EQ(registered.bytes().value, whole - (refused == 3 ? kChunk - kPage : kChunk));
        EXPECT_EQ(driver.imported.size(), 2u);
        for (std::size_t chunk = 0; chunk < 3; ++chunk)
            expect_arrives(*device, all.subspan(chunk * kChunk, kChunk - 3));
    }
}

TEST_F(HostImports, TheEndOfARegistrationIsTheEndOfTheImport) {
    const auto all = memory(2 * kHalf, 4);
    Ledger ledger;
    const auto device = this->device(ledger);
    {
        const HostRegistration registered = device->register_memory(all);
        EXPECT_EQ(driver.imported.size(), 1u);
        expect_arrives(*device, all);
    }
    EXPECT_TRUE(driver.imported.empty());
    driver.largest_copy = 0;
    expect_arrives(*device, all);
    EXPECT_LE(driver.largest_copy, kHalf) << "staged again";

    // While a copy waits (here for ever) the import stays; destroying the device ends it.
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, kPage);
    const CopyRegion region{block.address(), all.data(), kPage};
    const Point never{Timeline::kHostSignals, 7};
    std::optional<HostRegistration> registered = device->register_memory(all);
    device->copy({&region, 1}, {&never, 1});
    registered.reset();
    EXPECT_EQ(driver.imported.size(), 1u);
}

}  // namespace
}  // namespace lfm::test
