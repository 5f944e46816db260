// Transfers of a device whose memory the host cannot reach. A driver whose memory is the host's, such as one that
// computes on the CPU, is made to report a discrete card: then everything goes through staging, on its one queue.
#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "tests/backends/vulkan/replaced_call.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

// Functions that replace the driver's can capture nothing: their state is global.
PFN_vkGetPhysicalDeviceProperties real_properties = nullptr;
PFN_vkAllocateMemory real_allocate = nullptr;
PFN_vkFreeMemory real_free = nullptr;
std::map<VkDeviceMemory, std::uint64_t> counted;
std::uint64_t counted_now = 0, counted_most = 0;

void as_a_card(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    real_properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

VkResult count_allocation(VkDevice device, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks* callbacks,
                          VkDeviceMemory* memory) {
    const VkResult result = real_allocate(device, info, callbacks, memory);
    if (result == VK_SUCCESS) {
        counted[*memory] = info->allocationSize;
        counted_most = std::max(counted_most, counted_now += info->allocationSize);
    }
    return result;
}

void count_free(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* callbacks) {
    if (const auto found = counted.find(memory); found != counted.end()) {
        counted_now -= found->second;
        counted.erase(found);
    }
    real_free(device, memory, callbacks);
}

class Staging : public ValidatedDevice {
protected:
    void SetUp() override {
        ValidatedDevice::SetUp();
        if (IsSkipped()) return;
        real_properties = vkGetPhysicalDeviceProperties;
        as_card_.emplace(vkGetPhysicalDeviceProperties, as_a_card);
    }
    void TearDown() override {
        as_card_.reset();
        ValidatedDevice::TearDown();
    }

private:
    std::optional<ReplacedCall<PFN_vkGetPhysicalDeviceProperties>> as_card_;
};

std::vector<std::byte> pattern(std::size_t n, std::size_t seed) {
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>((i * 37 + i / 253 + seed) & 0xff);
    return bytes;
}

TEST_F(Staging, BytesOfAnySizeGoThereAndBack) {
    Ledger ledger;
    const auto device = this->device(ledger);
    EXPECT_GE(ledger.total(kSelf, Purpose::kStaging).value, 8u << 20);
    EXPECT_EQ(ledger.total(kSelf), device->allocated());
    constexpr std::size_t kHalf = 4 << 20;
    std::size_t seed = 0;
    for (const std::size_t size : {std::size_t{1}, std::size_t{65}, kHalf - 1, kHalf, kHalf + 1, 3 * kHalf + 17}) {
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, size);
        EXPECT_TRUE(block.host().empty());
        std::vector<std::byte> back(size);
        for (const std::size_t n_parts : {1, 2, 7}) {
            const auto bytes = pattern(size, ++seed);
            std::vector<CopyRegion> regions;
            for (std::size_t i = 0; i < n_parts; ++i) {
                const std::size_t begin = size * i / n_parts, end = size * (i + 1) / n_parts;
                regions.push_back({block.address() + begin, bytes.data() + begin, end - begin});
            }
            if (n_parts == 2)
                device->wait(device->copy(regions, {}));
            else if (n_parts == 7)
                device->upload_with(two_threads(), regions);
            else
                device->upload(regions);
            device->download(back, block.address());
            ASSERT_TRUE(back == bytes) << size << " bytes in " << n_parts << " parts";
        }
        if (size < 60) continue;
        device->download(std::span(back).first(7), block.address() + 50);
        const auto bytes = pattern(size, seed);
        EXPECT_TRUE(std::ranges::equal(std::span(back).first(7), std::span(bytes).subspan(50, 7)));
    }
}

TEST_F(Staging, WorkSeesUploadsAndDownloadsSeeWork) {
    Ledger ledger;
    const auto device = this->device(ledger);
    constexpr std::uint32_t kCols = 1000;
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kActivations, kCols * sizeof(float));
    const RowsView x{reinterpret_cast<float*>(block.address()), kCols};
    const StepParams step{.n_tokens = 1};
    const Operation twice = AddArgs{x, x, x};
    const Program program = device->record(std::span(&twice, 1), step);
    for (int i = 1; i < 6; ++i) {
        std::vector<float> values(kCols, static_cast<float>(i));
        const CopyRegion region{block.address(), reinterpret_cast<const std::byte*>(values.data()),
                                kCols * sizeof(float)};
        device->upload(std::span(&region, 1));
        device->begin_step();
        device->submit(program, {});
        device->submit(program, {});
        device->flush();
        static_cast<Backend&>(*device).wait();
        device->download(std::as_writable_bytes(std::span(values)), block.address());
        EXPECT_EQ(values, std::vector<float>(kCols, static_cast<float>(4 * i)));
    }
}

TEST_F(Staging, CopiesWaitInOrderAndTheEndDoesNotWait) {
    Ledger ledger;
    {
        const auto device = this->device(ledger);
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 1000);
        const auto first = pattern(1000, 1), second = pattern(600, 2);
        const CopyRegion regions[] = {{block.address(), first.data(), 1000}, {block.address(), second.data(), 600}};
        const Point host{Timeline::kHostSignals, 1};
        device->copy(std::span(regions).first(1), std::span(&host, 1));
        const Point done = device->copy(std::span(regions).last(1), {});
        device->signal();
        device->wait(done);
        std::vector<std::byte> back(1000);
        device->download(back, block.address());
        EXPECT_TRUE(std::equal(second.begin(), second.end(), back.begin()));
        EXPECT_EQ(back[999], first[999]);
        const Point never{Timeline::kHostSignals, 7};
        device->copy(regions, std::span(&never, 1));
    }
    EXPECT_TRUE(ledger.lines().empty());
}

TEST_F(Staging, EveryByteTheDriverGivesIsCounted) {
    real_allocate = vkAllocateMemory;
    real_free = vkFreeMemory;
    const ReplacedCall allocations(vkAllocateMemory, +count_allocation);
    const ReplacedCall frees(vkFreeMemory, +count_free);
    counted.clear();
    counted_now = counted_most = 0;
    Ledger ledger;
    {
        const auto device = this->device(ledger);
        StepParams step{.n_tokens = 1};
        std::vector<DeviceBlock> blocks;
        for (std::size_t size = 1; size < (4u << 20); size = size * 5 + 3)
            blocks.push_back(
                device->allocate(size % 2 == 0 ? MemoryKind::kOwn : MemoryKind::kShared, Purpose::kExperts, size));
        const RowsView x{reinterpret_cast<float*>(blocks.front().address()), 64};
        const Operation rotate = QkNormRopeArgs{.q = x, .k = x, .head_dim = 64, .eps = 1e-5f};
        const Program program = device->record(std::span(&rotate, 1), step);
        EXPECT_EQ(device->allocated().value, counted_now);
        EXPECT_EQ(ledger.total(kSelf).value, counted_now);
        blocks.clear();
        EXPECT_EQ(device->allocated().value, counted_now);
        EXPECT_EQ(device->peak().value, counted_most);
        EXPECT_LE(counted_most, device->budget().value);
    }
    EXPECT_EQ(counted_now, 0u);
}

TEST_F(Staging, ABudgetBelowWhatTheDeviceNeedsIsRefused) {
    Ledger ledger;
    auto options = this->options();
    options.budget = {4 << 20};
    EXPECT_EQ(error_of([&] { vulkan::make_vulkan_device(options, ledger); }), ErrorCode::kShortfall);
    EXPECT_TRUE(ledger.lines().empty());
}

}  // namespace
}  // namespace lfm::test
