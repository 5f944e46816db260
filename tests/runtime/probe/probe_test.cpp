// A short probe of the host and of a device that is the CPU backend, with memory copies for a bus.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_backend.h"
#include "memory/error.h"
#include "planner/machine/machine_json.h"
#include "runtime/machine/bandwidth.h"
#include "runtime/machine/threads.h"
#include "runtime/probe/probe.h"
#include "runtime/probe/probe_trials.h"

namespace lfm::test {
namespace {

class FakeDevice final : public ProbedDevice {
public:
    FakeDevice() : backend_(cpu::make_cpu_backend({.n_threads = 2, .limits = kProbeLimits}, ledger_)) {}

    Backend& backend() override { return *backend_; }
    std::byte* take(std::size_t size) override {
        memory_.emplace_back(size);
        return memory_.back().data();
    }
    void write(std::byte* to, std::span<const std::byte> from) override { std::memcpy(to, from.data(), from.size()); }
    DeviceProfile description() override {
        DeviceProfile profile;
        profile.name = "Fake 1";
        profile.backend = "sim";
        profile.memory = Bytes{std::uint64_t{1} << 30};
        profile.free = Bytes{std::uint64_t{128} << 20};
        profile.context = Bytes{1 << 20};
        return profile;
    }
    double read_seconds(std::span<const std::byte> memory) override {
        return static_cast<double>(memory.size()) / read_bandwidth_once(memory, 1);
    }
    double copy_seconds(const CopyTest& test) override {
        if (fails) throw Error(ErrorCode::kDeviceLost, "Fake 1", "gone");
        const std::size_t size = std::min(test.size, from_.size());  // a part will do
        const double share = static_cast<double>(test.size) / static_cast<double>(size);
        return share * seconds_of([&] { std::memcpy(to_.data(), from_.data(), size); });
    }
    double handshake_seconds(std::uint32_t count) override { return count * handshake; }

    bool fails = false;
    double handshake = 5e-6;

private:
    Ledger ledger_;
    std::vector<std::vector<std::byte>> memory_;
    std::vector<std::byte> from_ = std::vector<std::byte>(4 << 20, std::byte{1});
    std::vector<std::byte> to_ = std::vector<std::byte>(4 << 20);
    std::unique_ptr<Backend> backend_;
};

ProbeOptions short_options() {
    ProbeOptions options;
    options.time = std::chrono::milliseconds(500);
    options.memory = Bytes{std::uint64_t{24} << 20};
    return options;
}

void expect_measured(const Figure& figure, const std::string& what) {
    EXPECT_TRUE(std::isfinite(figure.stated)) << what;
    EXPECT_GT(figure.stated, 0) << what;
    const auto* measured = std::get_if<Measured>(&figure.basis);
    ASSERT_NE(measured, nullptr) << what;
    EXPECT_GE(measured->n, 1u) << what;
    EXPECT_GE(measured->spread, 0) << what;
    EXPECT_TRUE(std::isfinite(measured->spread)) << what;
}

/// Every type has a figure, those of Liquid's files a measured one.
void expect_types(const TypeFigures& figures, const std::string& what) {
    for (const DTypeInfo& info : all_dtypes()) EXPECT_NE(figures.find(info.type), nullptr) << what << info.name;
    for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kF16})
        expect_measured(*figures.find(type), what + std::string(dtype_name(type)));
    EXPECT_TRUE(std::holds_alternative<Assumed>(figures.find(DType::kIQ4_XS)->basis));
    EXPECT_EQ(figures.find(DType::kBF16)->stated, figures.find(DType::kF16)->stated);
}

TEST(Probe, MeasuresHostAndDevice) {
    FakeDevice device;
    ProbedDevice* const devices[] = {&device};
    std::vector<std::string> steps;
    double done = 0;
    ProbeOptions options = short_options();
    options.n_threads = 3;
    options.progress = [&](std::string_view step, double share_done) {
        if (steps.empty() || steps.back() != step) steps.emplace_back(step);
        EXPECT_GE(share_done, done);
        EXPECT_LE(share_done, 1.0);
        done = share_done;
    };
    const ProbeResult result = probe_machine(options, devices);
    EXPECT_EQ(steps, (std::vector<std::string>{"processor: filling memory", "processor: measuring",
                                               "Fake 1: filling memory", "Fake 1: measuring"}));
    EXPECT_GT(done, 0.9);

    const HostProfile& host = result.machine.host;
    EXPECT_EQ(host.name, processor_name());
    EXPECT_EQ(host.instruction_set, cpu::best_kernels().name);
    EXPECT_EQ(host.n_threads, 3u);
    EXPECT_GE(host.n_cores, 1u);
    EXPECT_FALSE(host.pinnable);
    ASSERT_EQ(host.read_bandwidth.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(host.read_bandwidth[i].n_threads, (std::array{1u, 2u, 3u}[i]));
        expect_measured(host.read_bandwidth[i].gb_per_s, "read bandwidth");
    }
    expect_types(host.matvec_gb_per_s, "host matvec ");
    expect_types(host.gemm_gflop_per_s, "host gemm ");
    expect_measured(host.attention_gb_per_s, "attention");
    expect_measured(host.operation_us, "operation");

    ASSERT_EQ(result.machine.devices.size(), 1u);
    const DeviceProfile& fake = result.machine.devices[0];
    EXPECT_EQ(fake.name, "Fake 1");
    EXPECT_EQ(fake.free, Bytes{std::uint64_t{128} << 20});
    expect_types(fake.matvec_gb_per_s, "device matvec ");
    expect_types(fake.gemm_gflop_per_s, "device gemm ");
    for (const Figure* figure :
         {&fake.read_gb_per_s, &fake.attention_gb_per_s, &fake.operation_us, &fake.handshake_us, &fake.copy_us,
          &fake.h2d_pinned_gb_per_s, &fake.h2d_pageable_gb_per_s, &fake.d2h_pinned_gb_per_s,
          &fake.d2h_pageable_gb_per_s, &fake.h2d_while_host_reads_gb_per_s, &fake.host_reads_while_h2d_gb_per_s})
        expect_measured(*figure, "device");
    EXPECT_NEAR(fake.handshake_us.stated, 5, 1e-9);

    const MachinePart part = to_part(result.machine);
    EXPECT_EQ(parse_machine_part(to_json(part), "profile"), part);
}

TEST(Probe, TheIdentityIsThatOfTheProfile) {
    FakeDevice device;
    ProbedDevice* const devices[] = {&device};
    const MachineProfile machine = probe_machine(short_options(), devices).machine;
    EXPECT_EQ(present_identity(devices), identity_of(machine));
    EXPECT_NE(present_identity(), identity_of(machine));
}

TEST(Probe, ADeviceThatFailsIsLeftOut) {
    FakeDevice broken, timeless, sound;
    broken.fails = true;
    timeless.handshake = 0;
    ProbedDevice* const devices[] = {&broken, &timeless, &sound};
    const ProbeResult result = probe_machine(short_options(), devices);
    EXPECT_EQ(result.machine.devices.size(), 1u);
    EXPECT_NE(std::ranges::find(result.remarks, "left out: Fake 1: gone"), result.remarks.end());
    EXPECT_NE(std::ranges::find(result.remarks,
                                "left out: Fake 1: a handshake: expected positive figures, found 0.00 to 0.00 µs"),
              result.remarks.end());
}

TEST(Probe, StopsWhenAsked) {
    std::atomic<bool> stop = false;
    for (const std::string at : {"filling memory", "measuring"}) {
        ProbeOptions options = short_options();
        options.time = std::chrono::seconds(60);
        options.stop = &stop;
        options.progress = [&](std::string_view step, double) { stop = step.ends_with(at); };
        stop = false;
        try {
            probe_machine(options, {});
            ADD_FAILURE() << "expected an error while " << at;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInterrupted) << error.what();
        }
    }
}

TEST(Probe, TooManyThreadsAreUsage) {
    ProbeOptions options = short_options();
    options.n_threads = 5000;
    EXPECT_THROW(probe_machine(options, {}), Error);
}

TrialTime trial_time(double seconds) {
    TrialTime time;
    time.end =
        ProbeClock::now() + std::chrono::duration_cast<ProbeClock::duration>(std::chrono::duration<double>(seconds));
    time.last_end = time.end;
    return time;
}

/// Gives the values in turn, over and over; the first one is the warm-up's and does not count.
Trial scripted(const std::string& what, Figure& figure, std::vector<double> values) {
    return {what, "GB/s", &figure, [values, i = values.size() - 1]() mutable { return values[++i % values.size()]; }};
}

TEST(Trials, GiveMedianAndQuartilesAndSayWhatMoved) {
    Figure steady, moving;
    // Time is up after five rounds.
    const auto remarks = run_trials(std::vector{scripted("steady", steady, {9, 10.2, 10, 9.9, 10.1, 10.3}),
                                                scripted("moving", moving, {9, 37, 46, 40, 30, 50})},
                                    {.end = ProbeClock::now(), .last_end = ProbeClock::time_point::max()});
    EXPECT_DOUBLE_EQ(steady.stated, 10.1);
    EXPECT_EQ(std::get<Measured>(steady.basis).n, 5u);
    EXPECT_NEAR(std::get<Measured>(steady.basis).spread, 0.2 / 10.1, 1e-12);
    EXPECT_DOUBLE_EQ(moving.stated, 40);
    EXPECT_EQ(remarks, std::vector<std::string>{"noisy: moving moved by 23 % (37.0 to 46.0 GB/s)"});
}

TEST(Trials, ManyThatMovedAreCounted) {
    std::vector<Figure> figures(6);
    std::vector<Trial> trials;
    for (std::size_t i = 0; i < figures.size(); ++i)
        trials.push_back(scripted("trial " + std::to_string(i), figures[i], {1, 2 + static_cast<double>(i)}));
    const auto remarks = run_trials(trials, {.end = ProbeClock::now(), .last_end = ProbeClock::time_point::max()});
    ASSERT_EQ(remarks.size(), 5u);
    EXPECT_EQ(remarks[4], "noisy: 6 of 6 figures moved by more than 10 %");
    EXPECT_EQ(remarks[0], "noisy: trial 5 moved by 86 % (1.00 to 7.00 GB/s)");
}

TEST(Trials, TakeTurns) {
    std::string order;
    Figure figures[2];
    const auto trial = [&](char name, Figure& figure, int per_round) {
        return Trial{"", "", &figure, [&order, name] { return order += name, 1.0; }, per_round};
    };
    run_trials(std::vector{trial('a', figures[0], 1), trial('b', figures[1], 2)},
               {.end = ProbeClock::now(), .last_end = ProbeClock::time_point::max()});
    EXPECT_EQ(order,
              "ab"
              "abb"
              "abb"
              "abb"
              "abb"
              "abb");
    order.clear();  // no time at all: one round, uncut
    run_trials(std::vector{trial('a', figures[0], 1), trial('b', figures[1], 2)},
               {.end = ProbeClock::now(), .last_end = ProbeClock::now()});
    EXPECT_EQ(order,
              "ab"
              "abb");
}

TEST(Trials, EndInTime) {
    Figure figure;
    const Trial slow{"slow", "s", &figure, [] {
                         const auto end = ProbeClock::now() + std::chrono::milliseconds(20);
                         while (ProbeClock::now() < end) {
                         }
                         return 1.0;
                     }};
    const double seconds = seconds_of([&] { run_trials({&slow, 1}, trial_time(0.3)); });
    EXPECT_GE(seconds, 0.3);
    EXPECT_LT(seconds, 0.6);
    EXPECT_GE(std::get<Measured>(figure.basis).n, 5u);
}

}  // namespace
}  // namespace lfm::test
