#include "planner/cost/decode_cost.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "planner/model/shape.h"
#include "tests/planner/random_cases.h"
#include "tests/planner/sample_machine.h"

namespace lfm {
namespace {

double choose(double n, double k) {
    double product = 1;
    for (double i = 0; i < k; ++i) product *= (n - i) / (i + 1);
    return product;
}

TEST(HitTable, OfEqualExpertsIsHypergeometric) {
    const HitTable table(std::vector<double>(64, 4.0 / 64), 4);
    for (int n = 0; n <= 64; ++n)
        for (int h = 0; h <= 4; ++h) {
            const double expected = h > n || 4 - h > 64 - n ? 0 : choose(n, h) * choose(64 - n, 4 - h) / choose(64, 4);
            EXPECT_NEAR(table.hits(static_cast<std::uint32_t>(n))[h], expected, 1e-9) << n << ' ' << h;
        }
}

TEST(HitTable, OfSkewedExpertsAddsUpAndGrows) {
    HyperParameters hyper = describe_shape("lfm2-24b-a2b:Q4_0").hyper;
    const Routing routing = skewed_routing(hyper, 1.0, 0);
    std::vector<double> use = routing.use[5];
    EXPECT_NEAR(std::accumulate(use.begin(), use.end(), 0.0), 4, 1e-9);
    std::ranges::sort(use, std::greater<>());
    const HitTable table(use, 4);
    double last = -1;
    for (std::uint32_t n = 0; n <= 64; ++n) {
        double sum = 0, mean = 0;
        for (int h = 0; h <= 4; ++h) {
            sum += table.hits(n)[h];
            mean += h * table.hits(n)[h];
        }
        EXPECT_NEAR(sum, 1, 1e-9);
        EXPECT_GT(mean, last);
        last = mean;
    }
    EXPECT_NEAR(last, 4, 1e-6);
}

/// Times of one layer in µs: host 50 an expert, device 5, bus 80; handshake 12.
ExpertTimes sample_times() {
    return {.host = 50, .host_while_copying = 60, .device = 5, .copy = 80, .handshake = 12, .copy_latency = 10};
}

TEST(SplitMisses, WithoutMissesTakesTheLongerOfDeviceAndHandshake) {
    EXPECT_EQ(split_misses(sample_times(), 4, 0).time.total(), 20);
    EXPECT_EQ(split_misses(sample_times(), 1, 0).time.total(), 12);
}

TEST(SplitMisses, SharesSoThatHostAndBusEndTogether) {
    // All on the host: 12 + 4 · 50 = 212. One over the bus: host 12 + 3 · 60 = 192, bus 12 + 10 + 80 + 5 = 107.
    // Two: host 132, bus 187. So two, ended by the bus; three would take 267.
    const MissSplit split = split_misses(sample_times(), 0, 4);
    EXPECT_EQ(split.streamed, 2u);
    EXPECT_EQ(split.time.total(), 187);
    EXPECT_EQ(split.time[TimePart::kBus], 182);
}

TEST(SplitMisses, StreamsNothingOverASlowBusAndAllOverAFastOne) {
    ExpertTimes times = sample_times();
    times.copy = 10000;
    EXPECT_EQ(split_misses(times, 0, 4).streamed, 0u);
    EXPECT_EQ(split_misses(times, 0, 4).time.total(), 212);
    times.copy = 0.001;
    times.copy_latency = 0;
    times.handshake = 0;
    EXPECT_EQ(split_misses(times, 0, 4).streamed, 4u);
}

TEST(Rates, ExpertsTravelAsFastAsTheirPages) {
    MachineProfile machine{"sample", "", test::sample_host(), {test::sample_device()}};
    DeviceProfile& device = machine.devices[0];
    const auto rate = [&] { return 1e-9 / rates_of(machine, 0, FigureEnd::kMid).link.h2d_seconds_per_byte; };
    const double beside_reading = device.h2d_while_host_reads_gb_per_s.value();
    EXPECT_NEAR(rate(), beside_reading, 1e-9) << "a datasheet does not know our staging";
    device.h2d_registered_gb_per_s.reset();
    device.h2d_pinned_gb_per_s = test::measured(24);
    device.h2d_pageable_gb_per_s = test::measured(6);
    EXPECT_NEAR(rate(), beside_reading / 4, 1e-9);
    device.h2d_registered_gb_per_s = test::measured(12);
    EXPECT_NEAR(rate(), beside_reading / 2, 1e-9);
    device.h2d_registered_gb_per_s = test::measured(4);
    EXPECT_NEAR(rate(), beside_reading / 4, 1e-9) << "staging is chosen";
    device.h2d_registered_gb_per_s = test::measured(25);
    EXPECT_NEAR(rate(), beside_reading, 1e-9) << "never faster than what was measured beside reading";
}

/// The expectation over routing, compared with routing that is drawn.
TEST(DecodeCost, OfALayerIsTheMeanOverRandomRouting) {
    RandomCases cases(7);
    const ModelDescription model = describe_shape("lfm2moe,n_expert=16,n_expert_used=4:Q4_0");
    for (int round = 0; round < 5; ++round) {
        const MachineRates rates = rates_of(cases.machine(), 0, FigureEnd::kMid);
        const DecodeCost cost(model, rates, uniform_routing(model.hyper), {}, 0);
        const std::uint32_t n_resident = cases.whole(1, 15);
        // With all experts there and with none, the layer's other parts are known.
        const auto& moe = std::get<MoeTensors>(model.layers[1].ffn);
        ExpertTimes times;
        for (const auto* tensor : {&moe.gate, &moe.up, &moe.down}) {
            const double bytes = static_cast<double>(tensor->bytes.value) / 16;
            times.host += bytes * rates.host.matvec(tensor->type);
            times.device += bytes * rates.device->matvec(tensor->type);
            times.copy += bytes * rates.link.h2d_seconds_per_byte;
            if (rates.link.shared_memory) times.shared += bytes * rates.link.shared_seconds_per_byte;
        }
        times.host_while_copying = times.host * rates.link.host_slowdown;
        times.host_operation = rates.host.operation_seconds;
        times.device_operation = rates.device->operation_seconds;
        times.handshake = rates.link.handshake_seconds;
        times.copy_latency = rates.link.copy_seconds;
        const double home = cost.device_layer(1, {16, 0}).total() - times.device_operation - 4 * times.device;
        std::mt19937 random(round);
        std::vector<std::uint32_t> experts(16);
        std::iota(experts.begin(), experts.end(), 0u);
        double sum = 0;
        constexpr int kDraws = 20000;
        for (int draw = 0; draw < kDraws; ++draw) {
            std::ranges::shuffle(experts, random);
            const auto hits = static_cast<std::uint32_t>(
                std::count_if(experts.begin(), experts.begin() + 4, [&](std::uint32_t e) { return e < n_resident; }));
            sum += split_misses(times, hits, 4 - hits).time.total();
        }
        const double expected = home + sum / kDraws;
        EXPECT_NEAR(cost.device_layer(1, {n_resident, 0}).total(), expected, 0.02 * expected) << n_resident;
    }
}

}  // namespace
}  // namespace lfm
