// The probe of a device through the interface of all devices, on each of kDeviceKinds.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "planner/machine/machine_json.h"
#include "runtime/probe/device_probe.h"
#include "tests/backends/device_work.h"
#include "tests/device_kinds.h"

namespace lfm::test {
namespace {

constexpr std::size_t kMemory = std::size_t{8} << 20;

DeviceProfile description() {
    DeviceProfile profile;
    profile.name = "Card 1";
    profile.backend = "vulkan";
    profile.memory = Bytes{std::uint64_t{2} << 30};
    profile.free = Bytes{std::uint64_t{1} << 30};
    return profile;
}

ProbeOptions short_options() {
    ProbeOptions options;
    options.time = std::chrono::milliseconds(100);
    options.memory = Bytes{std::uint64_t{16} << 20};
    return options;
}

TEST(ProbeBudget, IsAShareOfWhatIsFreeAndBounded) {
    DeviceProfile profile = description();
    EXPECT_EQ(probe_budget(profile), Bytes{std::uint64_t{768} << 20});
    profile.free.reset();
    EXPECT_EQ(probe_budget(profile), Bytes{std::uint64_t{1536} << 20});
    profile.memory = Bytes{~std::uint64_t{0}};
    EXPECT_EQ(probe_budget(profile), Bytes{std::uint64_t{4} << 30});
    profile.memory = Bytes{};
    EXPECT_EQ(probe_budget(profile), Bytes{0});
}

class DeviceProbeTest : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
    }

    std::unique_ptr<Device> open(const DeviceOptions& options, Ledger& ledger) {
        ++n_opened_;
        budget_ = options.budget;
        limits_ = options.limits;
        auto device = GetParam().open(options, ledger);
        device_ = device.get();
        return device;
    }

    int n_opened_ = 0;
    Bytes budget_;
    BackendLimits limits_;
    Device* device_ = nullptr;
    DeviceProbe probe_{description(),
                       [this](const DeviceOptions& options, Ledger& ledger) { return open(options, ledger); }};
};
INSTANTIATE_TEST_SUITE_P(, DeviceProbeTest, testing::ValuesIn(kDeviceKinds), kind_name);

TEST_P(DeviceProbeTest, DescribingOpensNothingAndMeasuringOnce) {
    EXPECT_EQ(probe_.description(), description());
    EXPECT_EQ(n_opened_, 0);
    EXPECT_EQ(&probe_.backend(), probe_.device());
    EXPECT_EQ(probe_.device(), device_);
    probe_.take(kMemory);
    EXPECT_EQ(n_opened_, 1);
    EXPECT_EQ(budget_, probe_budget(description()));
    EXPECT_EQ(limits_.n_batch, kProbeLimits.n_batch);
    EXPECT_EQ(limits_.n_ctx, kProbeLimits.n_ctx);
    EXPECT_LE(device_->peak(), budget_);
}

TEST_P(DeviceProbeTest, WhatIsWrittenArrives) {
    std::byte* const memory = probe_.take(kMemory);
    std::byte* const other = probe_.take(16);
    std::vector<std::byte> bytes(4096), back(4096);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31);
    probe_.write(memory + kMemory - bytes.size(), bytes);
    probe_.write(other, std::vector<std::byte>(16));
    device_->download(back, memory + kMemory - back.size());
    EXPECT_EQ(back, bytes);
}

TEST_P(DeviceProbeTest, EveryCallTakesTime) {
    std::byte* const memory = probe_.take(kMemory);
    probe_.write(memory, std::vector<std::byte>(kMemory));
    for (const std::size_t size : {kMemory, kMemory, std::size_t{100'001}, std::size_t{8192}}) {
        const double seconds = probe_.read_seconds({memory, size});
        EXPECT_GT(seconds, 0);
        EXPECT_LT(seconds, 60);
    }
    for (const CopyDirection direction : {CopyDirection::kHostToDevice, CopyDirection::kDeviceToHost})
        for (const HostPages pages : {HostPages::kPinned, HostPages::kPageable})
            for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{300'000}, kLargestProbeCopy})
                EXPECT_GT(probe_.copy_seconds({direction, pages, size}), 0) << size;
    const CopyTest registered{CopyDirection::kHostToDevice, HostPages::kRegistered, kMemory};
    if (probe_.registers_memory()) {
        EXPECT_GT(probe_.copy_seconds(registered), 0);
    } else {
        EXPECT_EQ(error_of([&] { probe_.copy_seconds(registered); }), ErrorCode::kUsage);
    }
    std::thread([&] { EXPECT_GT(probe_.copy_seconds({.size = 4096}), 0); }).join();  // from another thread
    for (const std::uint32_t count : {1u, 7u, 3u}) EXPECT_GT(probe_.handshake_seconds(count), 0);
    EXPECT_LE(device_->peak(), budget_);
}

TEST_P(DeviceProbeTest, WhatCannotBeMeasuredIsUsage) {
    std::byte* const memory = probe_.take(kMemory);
    EXPECT_EQ(error_of([&] { probe_.read_seconds({memory, 100}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { probe_.copy_seconds({.size = 0}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { probe_.copy_seconds({.size = kLargestProbeCopy + 1}); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { probe_.handshake_seconds(0); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { probe_.handshake_seconds(1u << 30); }), ErrorCode::kUsage);
    EXPECT_EQ(error_of([&] { probe_.take(std::size_t{3} << 30); }), ErrorCode::kShortfall);
    EXPECT_GT(probe_.handshake_seconds(2), 0);  // and goes on
}

void expect_measured(const Figure& figure, const std::string& what) {
    EXPECT_TRUE(std::isfinite(figure.stated)) << what;
    EXPECT_GT(figure.stated, 0) << what;
    EXPECT_TRUE(std::holds_alternative<Measured>(figure.basis)) << what;
}

TEST_P(DeviceProbeTest, AProfileHasEveryFigure) {
    if (const std::string why = left_to_full(GetParam()); !why.empty()) GTEST_SKIP() << why;
    ProbedDevice* const devices[] = {&probe_};
    const ProbeResult result = probe_machine(short_options(), devices);
    ASSERT_EQ(result.machine.devices.size(), 1u) << (result.remarks.empty() ? "" : result.remarks.back());
    const DeviceProfile& card = result.machine.devices[0];
    for (const Figure* figure :
         {&card.read_gb_per_s, &card.attention_gb_per_s, &card.operation_us, &card.handshake_us, &card.copy_us,
          &card.h2d_pinned_gb_per_s, &card.h2d_pageable_gb_per_s, &card.d2h_pinned_gb_per_s,
          &card.d2h_pageable_gb_per_s, &card.h2d_while_host_reads_gb_per_s, &card.host_reads_while_h2d_gb_per_s})
        expect_measured(*figure, card.name);
    for (const DTypeInfo& info : all_dtypes()) {
        EXPECT_EQ(card.matvec_gb_per_s.find(info.type) != nullptr, device_->supports(info.type)) << info.name;
        EXPECT_EQ(card.gemm_gflop_per_s.find(info.type) != nullptr, device_->supports(info.type)) << info.name;
    }
    for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kF16})
        expect_measured(*card.matvec_gb_per_s.find(type), std::string(dtype_name(type)));
    EXPECT_LE(device_->peak(), budget_);
    EXPECT_EQ(identity_of(result.machine), present_identity(devices));
    const MachinePart part = to_part(result.machine);
    EXPECT_EQ(parse_machine_part(to_json(part), "profile"), part);
}

sim::SimOptions sim_options(const DeviceOptions& options) {
    return {.budget = options.budget, .limits = options.limits};
}

/// By virtual time: one second per byte of F32 weights, nothing for anything else.
TEST(DeviceProbePrograms, ReadingReadsTheMemoryAndAHandshakeIsOneOperation) {
    sim::SimDevice* device = nullptr;
    DeviceProbe probe(description(), [&](const DeviceOptions& options, Ledger& ledger) {
        sim::SimOptions sim = sim_options(options);
        sim.rates.matvec_seconds_per_byte[static_cast<std::size_t>(DType::kF32)] = 1;
        auto opened = sim::make_sim_device(sim, ledger);
        device = opened.get();
        return opened;
    });
    const std::size_t larger = std::size_t{40} << 20;  // than one of the matrices that it is read as
    std::byte* const memory = probe.take(larger);
    const auto read = [&](std::size_t size) {
        probe.read_seconds({memory, size});
        device->finish_step();
        return device->step_seconds();
    };
    for (const std::size_t size : {std::size_t{8192}, kMemory}) {
        const double times = read(size) / static_cast<double>(size);
        EXPECT_GE(times, 1);
        EXPECT_EQ(times, std::floor(times)) << size;
    }
    EXPECT_GE(read(larger), 32 << 20);
    EXPECT_EQ(std::fmod(read(larger), 8192), 0);
    probe.handshake_seconds(7);
    device->finish_step();
    EXPECT_EQ(device->events().size(), 8u);  // and one that is not timed
    for (const VirtualEvent& event : device->events()) EXPECT_STREQ(event.name, "add");
}

TEST(DeviceProbeFaults, ADeviceThatCannotBeOpenedIsLeftOutByName) {
    DeviceProbe closed(description(), [](const DeviceOptions&, Ledger&) -> std::unique_ptr<Device> {
        throw Error(ErrorCode::kShortfall, "context", "expected more memory, found less");
    });
    DeviceProfile tiny = description();
    tiny.name = "Card 2";
    tiny.free = Bytes{1 << 20};
    DeviceProbe small(tiny, [](const DeviceOptions& options, Ledger& ledger) {
        return sim::make_sim_device(sim_options(options), ledger);
    });
    ProbedDevice* const devices[] = {&closed, &small};
    const ProbeResult result = probe_machine(short_options(), devices);
    EXPECT_EQ(result.machine.devices.size(), 0u);
    ASSERT_GE(result.remarks.size(), 2u);
    EXPECT_EQ(result.remarks[result.remarks.size() - 2], "left out: Card 1: context: expected more memory, found less");
    EXPECT_EQ(result.remarks.back().find("left out: Card 2: "), 0u) << result.remarks.back();
}

/// A device that is lost during a measurement: kDeviceLost and no hang, then and in every later measurement.
TEST(DeviceProbeFaults, ALostDeviceIsAnError) {
    sim::SimDevice* device = nullptr;
    DeviceProbe probe(description(), [&](const DeviceOptions& options, Ledger& ledger) {
        auto opened = sim::make_sim_device(sim_options(options), ledger);
        device = opened.get();
        return opened;
    });
    std::byte* const memory = probe.take(kMemory);
    probe.write(memory, std::vector<std::byte>(kMemory));
    EXPECT_GT(probe.handshake_seconds(2), 0);
    device->inject({.lose_at_call = device->counts().calls + 9});
    EXPECT_EQ(error_of([&] { probe.handshake_seconds(32); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { probe.read_seconds({memory, kMemory}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { probe.copy_seconds({.size = 4096}); }), ErrorCode::kDeviceLost);
    EXPECT_EQ(error_of([&] { probe.handshake_seconds(1); }), ErrorCode::kDeviceLost);
}

/// A device that cannot multiply every type.
class FewTypes final : public ProbedDevice {
public:
    class FewTypesBackend final : public Backend {
    public:
        explicit FewTypesBackend(DeviceProbe& whole) : whole_(whole) {}
        std::string_view name() const override { return "few"; }
        bool supports(DType type) const override {
            return type != DType::kBF16 && type != DType::kQ2_K && type != DType::kQ5_K;
        }
        void submit(ProgramId program) override { whole_.backend().submit(program); }
        void wait() override { whole_.backend().wait(); }

    private:
        ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
            return programs_.emplace_back(whole_.backend().record(operations, params)).id();
        }
        void forget_program(ProgramId) noexcept override {}

        DeviceProbe& whole_;
        std::vector<Program> programs_;
    };

    explicit FewTypes(DeviceProbe& whole) : whole_(whole), backend_(whole) {}
    Backend& backend() override { return backend_; }
    Device* device() override { return whole_.device(); }
    std::byte* take(std::size_t size) override { return whole_.take(size); }
    void write(std::byte* to, std::span<const std::byte> from) override { whole_.write(to, from); }
    DeviceProfile description() override { return whole_.description(); }
    double read_seconds(std::span<const std::byte> memory) override { return whole_.read_seconds(memory); }
    double copy_seconds(const CopyTest& test) override { return whole_.copy_seconds(test); }
    double handshake_seconds(std::uint32_t count) override { return whole_.handshake_seconds(count); }

private:
    DeviceProbe& whole_;
    FewTypesBackend backend_;
};

TEST(DeviceProbeTypes, WhatADeviceCannotMultiplyHasNoFigure) {
    DeviceProbe whole(description(), [](const DeviceOptions& options, Ledger& ledger) {
        return sim::make_sim_device(sim_options(options), ledger);
    });
    FewTypes few(whole);
    ProbedDevice* const devices[] = {&few};
    const ProbeResult result = probe_machine(short_options(), devices);
    ASSERT_EQ(result.machine.devices.size(), 1u);
    for (const TypeFigures* figures :
         {&result.machine.devices[0].matvec_gb_per_s, &result.machine.devices[0].gemm_gflop_per_s})
        for (const DTypeInfo& info : all_dtypes())
            EXPECT_EQ(figures->find(info.type) != nullptr, few.backend().supports(info.type)) << info.name;
}

}  // namespace
}  // namespace lfm::test
