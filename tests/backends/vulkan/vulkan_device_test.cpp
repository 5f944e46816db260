// The contract of device.h on a real driver: memory within the budget, transfers, work ahead, loss, and an end at any
// time.
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

using Waits = std::vector<Point>;

class VulkanDevice : public ValidatedDevice {};

std::vector<std::byte> pattern(std::size_t n, unsigned seed) {
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + seed) & 0xff);
    return bytes;
}

/// Rows of numbers on the device: x doubled, again and again, is x · 2^steps.
struct Doubling {
    static constexpr std::uint32_t kCols = 100;

    explicit Doubling(Device& the_device)
        : device(the_device),
          block(device.allocate(MemoryKind::kShared, Purpose::kActivations, 8 * kCols * sizeof(float))) {
        const RowsView x{reinterpret_cast<float*>(block.address()), kCols};
        const Operation twice = AddArgs{x, x, x};
        program = device.record(std::span(&twice, 1), step);
        set(1);
    }
    float* host() { return reinterpret_cast<float*>(block.host().data()); }
    void set(float value) { std::fill_n(host(), 8 * kCols, value); }

    Device& device;
    StepParams step{.n_tokens = 1};
    DeviceBlock block;
    ProgramId program;
};

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

TEST_F(VulkanDevice, MisuseIsAnErrorAndNotTheEnd) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    std::vector<std::byte> host(64);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 64);
    const CopyRegion beyond{block.address() + 1, host.data(), 64}, elsewhere{host.data(), host.data(), 64};
    EXPECT_EQ(error_of([&] { device->copy(std::span(&beyond, 1), {}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->upload(std::span(&elsewhere, 1)); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->download(host, block.address() + 1); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->submit(ProgramId{99}, Waits{}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { device->submit(work.program, Waits{{Timeline::kCompute, 7}}); }), ErrorCode::kUsage);
    work.step.n_tokens = kLimits.n_batch + 1;
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    work.step = {.n_tokens = 1, .position = kLimits.n_ctx};
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    work.step = {.n_tokens = 1};
    device->begin_step();
    device->submit(work.program, {});
    EXPECT_EQ(error_of([&] { device->begin_step(); }), ErrorCode::kUsage);
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 2);
    EXPECT_EQ(device->copy({}, {}), (Point{Timeline::kCopy, 1})) << "a refused copy takes no point";
}

TEST_F(VulkanDevice, AStepIsSubmittedAheadAndMeetsTheHostAtPoints) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    constexpr std::uint32_t kPrograms = 39;
    for (std::uint32_t step = 0; step < 3; ++step) {
        work.set(1);
        work.step.n_tokens = 1 + step % 2;
        device->begin_step();
        const std::uint64_t host = device->last(Timeline::kHostSignals).value;
        std::vector<Point> points;
        for (std::uint32_t i = 0; i < kPrograms; ++i)
            points.push_back(device->submit(work.program, Waits{{Timeline::kHostSignals, host + i + 1}}));
        device->flush();
        double expected = 1;
        for (std::uint32_t i = 0; i < kPrograms; ++i) {
            ASSERT_EQ(points[i], (Point{Timeline::kCompute, step * kPrograms + i + 1}));
            // What the host writes before it signals is what the program reads.
            work.host()[0] += 1;
            expected = 2 * (expected + 1);
            device->signal();
            device->wait(points[i]);
            ASSERT_EQ(work.host()[0], static_cast<float>(expected)) << i;
        }
        EXPECT_EQ(work.host()[Doubling::kCols - 1], std::ldexp(1.0f, kPrograms));
        EXPECT_EQ(work.host()[Doubling::kCols], step % 2 == 1 ? std::ldexp(1.0f, kPrograms) : 1.0f);
    }
}

TEST_F(VulkanDevice, WorkWaitsForCopiesThatWaitForWork) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    std::vector<float> fresh(Doubling::kCols, 10);
    const CopyRegion region{work.block.address(), reinterpret_cast<const std::byte*>(fresh.data()),
                            fresh.size() * sizeof(float)};
    for (std::uint32_t step = 0; step < 2; ++step) {
        device->begin_step();
        const Point host{Timeline::kHostSignals, step + 1};
        const Point staged{Timeline::kCopy, device->last(Timeline::kCopy).value + 2};
        const Point first = device->submit(work.program, {});
        const Point second = device->submit(work.program, Waits{staged, {Timeline::kCopy, 1}});
        device->flush();
        EXPECT_EQ(device->copy({}, {}).value, staged.value - 1);
        EXPECT_EQ(device->copy(std::span(&region, 1), Waits{first, host}), staged);
        std::atomic<bool> reached = false;
        std::thread waiter([&] {
            device->wait(second);
            reached = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_FALSE(reached);
        device->signal();
        waiter.join();
        EXPECT_EQ(work.host()[0], 20);
    }
}

TEST_F(VulkanDevice, NothingRunsBeforeFlush) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    device->begin_step();
    const Point point = device->submit(work.program, {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(work.host()[0], 1);
    device->flush();
    device->flush();  // of nothing
    device->wait(point);
    EXPECT_EQ(work.host()[0], 2);
}

TEST_F(VulkanDevice, ProgramsGrowWhatTheyShareAndStayRight) {
    Ledger ledger;
    const auto device = this->device(ledger);
    Doubling work(*device);
    const Bytes small = ledger.total(kSelf, Purpose::kScratch);
    StepParams other{.n_tokens = 1};
    // A larger head needs more room for rotations: the first program is recorded anew.
    const DeviceBlock rows = device->allocate(MemoryKind::kOwn, Purpose::kActivations, 1 << 20);
    const RowsView x{reinterpret_cast<float*>(rows.address()), 4096};
    const float* norm = reinterpret_cast<const float*>(rows.address());
    const Operation rotate =
        QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 4096, .eps = 1e-5f};
    device->record(std::span(&rotate, 1), work.step);
    device->record(std::span(&rotate, 1), other);
    EXPECT_GT(ledger.total(kSelf, Purpose::kScratch), small);
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 2);

    // One that fails leaves the others as they were, and no memory.
    const Bytes before = device->allocated();
    const Operation huge =
        QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 1u << 26, .eps = 1e-5f};
    EXPECT_EQ(error_of([&] { device->record(std::span(&huge, 1), work.step); }), ErrorCode::kShortfall);
    EXPECT_EQ(device->allocated(), before);
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], 4);
    const Operation unknown = KvAppendArgs{x, x, {nullptr, nullptr, DType::kQ4_0, DType::kF16, 1, 4096}};
    EXPECT_EQ(error_of([&] { device->record(std::span(&unknown, 1), work.step); }), ErrorCode::kUnsupportedModel);
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

TEST_F(VulkanDevice, EndsWithWorkThatNobodySignalled) {
    Ledger ledger;
    {
        const auto device = this->device(ledger);
        Doubling work(*device);
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, 4096);
        const auto bytes = pattern(4096, 3);
        const CopyRegion region{block.address(), bytes.data(), bytes.size()};
        device->begin_step();
        device->submit(work.program, Waits{{Timeline::kHostSignals, 9}});
        device->submit(work.program, Waits{{Timeline::kCopy, 5}});
        device->flush();
        device->submit(work.program, {});  // never flushed
        device->copy(std::span(&region, 1), Waits{{Timeline::kHostSignals, 9}});
        device->copy(std::span(&region, 1), Waits{{Timeline::kCompute, 2}});
        // Blocks go first, while the work that uses them is still enqueued.
    }
    EXPECT_TRUE(ledger.lines().empty());
}

TEST_F(VulkanDevice, TooSmallABudgetOrNoLayerIsSaidAtOnce) {
    Ledger ledger;
    auto options = this->options();
    options.budget = {0};
    // Where the device has nothing of its own to take, programs are what cannot be recorded.
    EXPECT_EQ(error_of([&] {
                  const auto device = vulkan::make_vulkan_device(options, ledger);
                  device->record({}, StepParams{});
              }),
              ErrorCode::kShortfall);
    EXPECT_TRUE(ledger.lines().empty());
}

}  // namespace
}  // namespace lfm::test
