// Forecasts of use: frequencies and memory found in random routing, and sums over future steps.
#include "runtime/experts/use_forecast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "planner/model/shape.h"
#include "runtime/experts/routing_trace.h"

namespace lfm::test {
namespace {

UseForecast after(const SyntheticRouting& routing, std::uint32_t n_tokens, const ForecastOptions& options = {}) {
    RoutingTrace trace(describe_shape("lfm2moe,n_layer=2,n_expert=32,n_expert_used=4,n_layer_dense=1:F16").hyper,
                       routing);
    UseForecast forecast(std::vector<double>(32, 4.0 / 32), options);
    for (std::uint32_t position = 0; position < n_tokens; ++position) {
        std::vector<ExpertUse> uses;
        for (const std::uint16_t expert : trace.experts(0, position)) uses.push_back({expert, 1});
        forecast.add_step(uses, 1);
    }
    return forecast;
}

TEST(UseForecast, FindsFrequencies) {
    const UseForecast flat = after({}, 5000), skewed = after({.skew = 1}, 5000);
    for (std::size_t e = 0; e < 32; ++e) EXPECT_NEAR(flat.frequency(e), 0.125, 0.05);
    EXPECT_GT(skewed.frequency(7), 0.8);  // the favourite of layer 1
    double sum = 0;
    for (std::size_t e = 0; e < 32; ++e) sum += skewed.frequency(e);
    EXPECT_NEAR(sum, 4, 1e-9);
}

TEST(UseForecast, FindsMemoryWhereThereIsSome) {
    EXPECT_LT(after({}, 5000).memory(), 1.1);
    EXPECT_LT(after({.skew = 1}, 5000).memory(), 1.25);
    for (const double reuse : {0.3, 0.6, 0.9})
        EXPECT_NEAR(after({.reuse = reuse}, 5000).memory(), 1 / (1 - reuse), 0.15 / (1 - reuse)) << reuse;
    EXPECT_NEAR(after({}, 0, {.locality = 0.5}).memory(), 2, 1e-9);
}

TEST(UseForecast, ForecastsComeTrue) {
    // Experts just used, and all others, over many steps: as often as forecast.
    const SyntheticRouting routing{.skew = 0.5, .reuse = 0.5};
    RoutingTrace trace(describe_shape("lfm2moe,n_layer=2,n_expert=32,n_expert_used=4,n_layer_dense=1:F16").hyper,
                       routing);
    UseForecast forecast(std::vector<double>(32, 0.125), {});
    double expected[2] = {}, found[2] = {};
    std::vector<std::size_t> used(32);
    for (std::uint32_t position = 0; position < 20'000; ++position) {
        std::vector<ExpertUse> uses;
        std::vector<std::size_t> now(32);
        for (const std::uint16_t expert : trace.experts(0, position)) {
            uses.push_back({expert, 1});
            now[expert] = 1;
        }
        for (std::size_t e = 0; e < 32 && position > 1000; ++e) {
            expected[used[e]] += forecast.next(e);
            found[used[e]] += static_cast<double>(now[e]);
        }
        forecast.add_step(uses, 1);
        used = now;
    }
    for (int i : {0, 1}) EXPECT_NEAR(found[i], expected[i], 0.05 * found[i]);
}

TEST(UseForecast, SumsAreThoseOfSingleSteps) {
    // The expectations of x = u - f and z = m - f, step by step.
    const UseForecast forecast = after({.skew = 0.7, .reuse = 0.6}, 777, {.short_half_life = 3});
    const double decay = std::exp2(-1.0 / 3);
    const auto next = [&](double x, double z) {
        // next() is linear: read off its coefficients from extra_weights(1), whose last step is the one before.
        const auto first = forecast.extra_weights(1), second = forecast.extra_weights(2);
        return (first.last - second.last) * x + (first.recent - second.recent) * z;
    };
    for (const std::uint32_t step : {1u, 2u, 5u}) {
        double x = 0.7, z = 0.2, sum = 0;
        for (std::uint32_t i = 1; i < 2000; ++i) {
            x = next(x, z);
            z = decay * z + (1 - decay) * x;
            if (i >= step) sum += x;
        }
        const auto weights = forecast.extra_weights(step);
        EXPECT_NEAR(weights.last * 0.7 + weights.recent * 0.2, sum, 1e-9) << step;
    }
    EXPECT_NEAR(forecast.next(3) - forecast.frequency(3),
                forecast.extra(3, forecast.extra_weights(1)) - forecast.extra(3, forecast.extra_weights(2)), 1e-12);
}

TEST(UseForecast, ManyTokensAtOnceCountLikeSingleOnes) {
    UseForecast single(std::vector<double>(8, 0.25), {}), together(std::vector<double>(8, 0.25), {});
    const ExpertUse one[] = {{3, 1}, {5, 1}}, many[] = {{3, 100}, {5, 100}};
    for (int i = 0; i < 100; ++i) single.add_step(one, 1);
    together.add_step(many, 100);
    for (std::size_t e = 0; e < 8; ++e) EXPECT_NEAR(together.frequency(e), single.frequency(e), 1e-9);
    EXPECT_EQ(together.memory(), 1);  // the order of uses within a step is not known
    together.add_step({}, 0);
    EXPECT_NEAR(together.frequency(3), single.frequency(3), 1e-9);
}

TEST(UseForecast, ExtremeRoutingStaysFinite) {
    for (const double use : {0.0, 1.0}) {
        UseForecast forecast(std::vector<double>(4, use), {.short_half_life = 1e-3});
        const ExpertUse all[] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}};
        for (int i = 0; i < 3000; ++i) forecast.add_step(i % 1000 < 500 ? std::span(all) : std::span(all).first(0), 1);
        for (std::size_t e = 0; e < 4; ++e) {
            EXPECT_TRUE(std::isfinite(forecast.extra(e, forecast.extra_weights(1))));
            EXPECT_TRUE(std::isfinite(forecast.extra(e, forecast.extra_weights(100))));
        }
        EXPECT_GE(forecast.memory(), 1);
        EXPECT_LE(forecast.memory(), 51);
        EXPECT_GT(forecast.independent_tokens(), 0);
    }
}

}  // namespace
}  // namespace lfm::test
