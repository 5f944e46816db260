// The contract of devices on the GPU backend, emulated; and what is particular to it: memory, graphs, faults.
#include "tests/backends/device_contract.h"

#include "backends/device/free_memory_poll.h"
#include "backends/gpu/emulation/faults.h"
#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/platform/api.h"
#include "tests/backends/gpu/emulated_device.h"

namespace lfm::test {
namespace {

namespace emulation = gpu::emulation;

std::unique_ptr<Device> open(Ledger& ledger) {
    return open_emulated(kContractLimits, ledger, ActivationKind::kQuantised, kContractBudget);
}

INSTANTIATE_TEST_SUITE_P(Gpu, DeviceContract, testing::Values(ContractDevice{open, [] { return std::string(); }}));

class GpuDevice : public testing::Test {
protected:
    void SetUp() override { emulation::reset_machine(); }
    void TearDown() override {
        for (const std::string& report : emulation::take_reports()) ADD_FAILURE() << report;
        emulation::reset_machine();
    }
    static constexpr DeviceId kSelf{1};
};

TEST_F(GpuDevice, IsListedWithWhatOpeningItTakes) {
    std::string why_none;
    const auto infos = lfm_gpu_module()->list_devices(why_none);
    ASSERT_EQ(infos.size(), 1u) << why_none;
    EXPECT_FALSE(infos[0].name.empty());
    EXPECT_TRUE(infos[0].why_unusable.empty()) << infos[0].why_unusable;
    EXPECT_EQ(infos[0].free, infos[0].memory);
    Ledger ledger;
    const auto device = open(ledger);
    EXPECT_EQ(device->allocated(), infos[0].context);
    EXPECT_EQ(ledger.total(kSelf), device->allocated());
    EXPECT_EQ(error_of([&] { lfm_gpu_module()->open({.index = 1, .budget = kContractBudget}, ledger); }),
              ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { lfm_gpu_module()->open({.budget = {1000}}, ledger); }), ErrorCode::kShortfall);
}

TEST_F(GpuDevice, WithoutADeviceThereIsAReason) {
    emulation::reset_machine({.n_devices = 0});
    std::string why_none;
    EXPECT_TRUE(lfm_gpu_module()->list_devices(why_none).empty());
    EXPECT_FALSE(why_none.empty());
    Ledger ledger;
    EXPECT_EQ(error_of([&] { open(ledger); }), ErrorCode::kUsage);
    emulation::reset_machine({.shared_bytes = 1000});
    EXPECT_EQ(error_of([&] { open(ledger); }), ErrorCode::kUsage);
}

TEST_F(GpuDevice, MemoryIsCountedAndRefusedBeyondTheBudget) {
    Ledger ledger;
    const auto device = open(ledger);
    const Bytes before = device->allocated();
    {
        const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kKvCache, 1000);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.address()) % 256, 0u);
        EXPECT_TRUE(block.host().empty());
        const DeviceBlock shared = device->allocate(MemoryKind::kShared, Purpose::kStaging, 512);
        EXPECT_EQ(shared.host().size(), 512u);
        EXPECT_GE(device->allocated().value, before.value + 1512);
        EXPECT_EQ(ledger.total(kSelf), device->allocated());
    }
    EXPECT_EQ(device->allocated(), before);
    for (const std::size_t size : {std::size_t{64} << 20, std::size_t{8} << 30, ~std::size_t{0}})
        EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, size); }),
                  ErrorCode::kShortfall);
    EXPECT_LE(device->peak(), device->budget());
    // The driver may refuse what the budget allows.
    emulation::set_faults({.refuse_allocation = emulation::counts().allocations + 1});
    EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 1 << 20); }), ErrorCode::kShortfall);
    EXPECT_EQ(device->allocated(), before);
    EXPECT_EQ(device->allocate(MemoryKind::kOwn, Purpose::kExperts, 1 << 20).size(), 1u << 20);
}

TEST_F(GpuDevice, CopiesComeThroughStagingAndStraightFromPinnedMemory) {
    Ledger ledger;
    const auto device = open(ledger);
    constexpr std::size_t kSize = (9u << 20) + 12345;  // more than the two halves of staging
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, kSize);
    const std::vector<std::byte> bytes = pattern(kSize, 1), other = pattern(kSize, 2);
    std::vector<std::byte> back(kSize);
    const CopyRegion region{block.address(), bytes.data(), kSize};
    device->upload(std::span(&region, 1));
    device->download(back, block.address());
    EXPECT_EQ(back, bytes);
    const HostRegistration pinned = device->register_memory(std::span(other).subspan(5000, 5 << 20));
    EXPECT_GT(pinned.bytes().value, 4u << 20);
    for (const std::size_t cut : {std::size_t{1}, std::size_t{6000}, std::size_t{4} << 20, kSize - 1}) {
        device->upload(std::span(&region, 1));
        const CopyRegion again[] = {{block.address() + cut, other.data() + cut, kSize - cut},
                                    {block.address(), other.data(), cut}};
        device->wait(device->copy(again, {}));
        device->download(back, block.address());
        EXPECT_EQ(back, other) << cut;
    }
}

TEST_F(GpuDevice, RegistersNothingWhereStagingIsFaster) {
    Ledger ledger;
    const auto device = lfm_gpu_module()->open(
        {.budget = kContractBudget, .limits = kContractLimits, .registers_memory = false}, ledger);
    EXPECT_FALSE(device->limits().registers_memory);
    const std::vector<std::byte> bytes = pattern(1 << 20, 1);
    EXPECT_EQ(device->register_memory(bytes).bytes(), Bytes{});
}

TEST_F(GpuDevice, AStepOfOneTokenIsAGraphThatIsReplayed) {
    Ledger ledger;
    const auto device = open(ledger);
    Doubling work(*device);
    const auto opened = emulation::counts();
    for (int step = 0; step < 5; ++step) {
        device->begin_step();
        device->submit(work.program, {});
        const Point host{Timeline::kHostSignals, device->last(Timeline::kHostSignals).value + 1};
        const Point end = device->submit(work.program, Waits{host});
        device->flush();
        device->signal();
        device->wait(end);
    }
    EXPECT_EQ(work.host()[0], std::ldexp(1.0f, 10));
    EXPECT_EQ(emulation::counts().graph_launches - opened.graph_launches, 5u);
    const auto launches = emulation::counts().launches;
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_GT(emulation::counts().launches, launches) << "another sequence of programs is another graph";
    // This recording grows what programs share, so the graphs captured before are out of date.
    const DeviceBlock rows = device->allocate(MemoryKind::kOwn, Purpose::kActivations, 1 << 20);
    const RowsView x{reinterpret_cast<float*>(rows.address()), 128};
    const float* norm = reinterpret_cast<const float*>(rows.address());
    const Operation rotate = QkNormRopeArgs{.q = x, .k = x, .q_norm = norm, .k_norm = norm, .head_dim = 128};
    const Program grown = device->record(std::span(&rotate, 1), work.step);
    device->begin_step();
    device->submit(work.program, {});
    device->flush();
    static_cast<Backend&>(*device).wait();
    EXPECT_EQ(work.host()[0], std::ldexp(1.0f, 12));
}

TEST_F(GpuDevice, WhoeverWaitsDoesNotDisturbACapture) {
    Ledger ledger;
    const auto device = open(ledger);
    Doubling work(*device);
    std::optional<ErrorCode> seen;
    std::thread waiter([&] { seen = error_of([&] { device->wait({Timeline::kHostSignals, 1}); }); });
    // Each step is another sequence of programs, so that it is captured.
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint32_t n = 1; n < 400 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(2); ++n) {
        device->begin_step();
        for (std::uint32_t i = 0; i < n; ++i) device->submit(work.program, {});
        device->flush();
        static_cast<Backend&>(*device).wait();
        work.set(1);
    }
    device->signal();
    waiter.join();
    EXPECT_EQ(seen, std::nullopt);
}

/// A little of everything that a session does.
void use_device() {
    Ledger ledger;
    const auto device = open(ledger);
    Doubling work(*device);
    const std::vector<std::byte> bytes = pattern(5000, 1);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kExperts, bytes.size());
    const CopyRegion region{block.address(), bytes.data(), bytes.size()};
    device->upload(std::span(&region, 1));
    for (const std::uint32_t n_tokens : {1u, 2u, 1u}) {
        work.step.n_tokens = n_tokens;
        device->begin_step();
        const Point host{Timeline::kHostSignals, device->last(Timeline::kHostSignals).value + 1};
        const Point first = device->submit(work.program, {});
        const Point copied = device->copy(std::span(&region, 1), Waits{first});
        const Point end = device->submit(work.program, Waits{host, copied});
        device->flush();
        device->wait(first);
        device->signal();
        device->wait(end);
    }
    std::vector<std::byte> back(bytes.size());
    device->download(back, block.address());
    EXPECT_EQ(back, bytes);
    EXPECT_EQ(work.host()[0], std::ldexp(1.0f, 6));
}

TEST_F(GpuDevice, EveryCallLostInTurnIsAnErrorWithinSeconds) {
    use_device();
    const std::uint64_t n_calls = emulation::counts().calls;
    ASSERT_GT(n_calls, 50u);
    std::uint64_t n_lost = 0;
    for (std::uint64_t call = 1; call <= n_calls; ++call) {
        emulation::reset_machine();
        emulation::set_faults({.lose_at_call = call});
        const auto begin = std::chrono::steady_clock::now();
        const auto error = error_of(use_device);
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << call;
        n_lost += error == ErrorCode::kDeviceLost;
        EXPECT_TRUE(!error || *error == ErrorCode::kDeviceLost || *error == ErrorCode::kUsage) << call;
    }
    EXPECT_GT(n_lost, n_calls / 2);
    emulation::take_reports();
}

TEST_F(GpuDevice, EveryAllocationRefusedInTurnIsAShortfall) {
    use_device();
    const std::uint64_t n = emulation::counts().allocations;
    ASSERT_GT(n, 5u);
    for (std::uint64_t i = 1; i <= n; ++i) {
        emulation::reset_machine();
        emulation::set_faults({.refuse_allocation = i});
        EXPECT_EQ(error_of(use_device), ErrorCode::kShortfall) << i;
    }
}

TEST_F(GpuDevice, OthersMemoryIsSeen) {
    Ledger ledger;
    const auto device = open(ledger);
    StepParams step{.n_tokens = 1};
    const Program empty = device->record({}, step);
    device->begin_step();
    EXPECT_EQ(device->budget(), kContractBudget);
    // A smaller device stands for one of whose memory others take a part.
    std::size_t free = 0, total = 0;
    ASSERT_EQ(gpu::api::memory_info(&free, &total), gpu::api::kSuccess);
    constexpr std::size_t kLeft = 5 << 20;
    emulation::reset_machine({.memory = total - free + kLeft});
    for (std::uint32_t i = 0; i < FreeMemoryPoll::kMostSteps; ++i) device->begin_step();
    EXPECT_EQ(device->budget().value, device->allocated().value + kLeft);
    EXPECT_EQ(error_of([&] { device->allocate(MemoryKind::kOwn, Purpose::kExperts, 6 << 20); }), ErrorCode::kShortfall);
    emulation::reset_machine();
    for (std::uint32_t i = 0; i < FreeMemoryPoll::kMostSteps; ++i) device->begin_step();
    EXPECT_EQ(device->budget(), kContractBudget);
}

}  // namespace
}  // namespace lfm::test
