// The router's choice beside a plain loop: what the shared cases leave out of it.
#include "backends/gpu/kernels/route.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/backends/gpu/kernel_backend.h"
#include "tests/backends/operation_cases/operands.h"

namespace lfm::gpu::test {
namespace {

struct Choice {
    std::vector<std::int32_t> ids;
    std::vector<float> weights;
};

class GpuRoute : public KernelTest {
protected:
    void SetUp() override {
        KernelTest::SetUp();
        ASSERT_EQ(api::create_stream(&stream_), api::kSuccess);
    }
    void TearDown() override {
        api::destroy_stream(stream_);
        KernelTest::TearDown();
    }

    /// Routes by logits [n_tokens, n_expert]; forced: [n_tokens, n_used].
    Choice route(const std::vector<float>& logits, std::uint32_t n_expert, std::uint32_t n_used,
                 const std::vector<float>& bias = {}, const std::vector<std::int32_t>& forced = {}) {
        const auto n_tokens = static_cast<std::uint32_t>(logits.size() / n_expert);
        const Step step{.n_tokens = n_tokens,
                        .has_forced = forced.empty() ? 0u : 1u,
                        .forced_experts = forced.empty() ? nullptr : forced.data()};
        Choice choice{std::vector<std::int32_t>(n_tokens * n_used, -1), std::vector<float>(n_tokens * n_used)};
        const RoutePush push{.step = &step,
                             .logits = logits.data(),
                             .bias = bias.empty() ? nullptr : bias.data(),
                             .ids = choice.ids.data(),
                             .weights = choice.weights.data(),
                             .scale = 2,
                             .n_expert = n_expert,
                             .n_expert_used = n_used};
        EXPECT_EQ(api::launch(route_kernel(), {n_tokens, 1, 1}, &push, stream_), api::kSuccess);
        EXPECT_EQ(api::synchronize_stream(stream_), api::kSuccess);
        return choice;
    }

private:
    api::Stream stream_{};
};
INSTANTIATE_TEST_SUITE_P(Threads, GpuRoute, kBothOrders, order_name);

using Ids = std::vector<std::int32_t>;

TEST_P(GpuRoute, TheLargestFirstForAnyNumberOfExperts) {
    operation_cases::Noise noise(1);
    for (const std::uint32_t n_expert : {1u, 2u, 63u, 64u, 65u, 200u, kMostExperts}) {
        const std::uint32_t n_used = std::min(n_expert, kMostChosen);
        const std::vector<float> logits = noise.values(3 * n_expert, 2), bias = noise.values(n_expert, 0.1f);
        const Choice found = route(logits, n_expert, n_used, bias);
        for (std::uint32_t t = 0; t < 3; ++t) {
            const auto p = [&](std::uint32_t e) { return 1 / (1 + std::exp(-logits[t * n_expert + e])); };
            Ids order(n_expert);
            for (std::uint32_t e = 0; e < n_expert; ++e) order[e] = static_cast<std::int32_t>(e);
            const auto score = [&](std::int32_t e) {
                return p(static_cast<std::uint32_t>(e)) + bias[static_cast<std::size_t>(e)];
            };
            std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return score(a) > score(b); });
            float sum = 0;
            for (std::uint32_t j = 0; j < n_used; ++j) sum += p(static_cast<std::uint32_t>(order[j]));
            for (std::uint32_t j = 0; j < n_used; ++j) {
                ASSERT_EQ(found.ids[t * n_used + j], order[j]) << n_expert << " experts, choice " << j;
                ASSERT_NEAR(found.weights[t * n_used + j], 2 * p(static_cast<std::uint32_t>(order[j])) / sum, 1e-5);
            }
        }
    }
}

TEST_P(GpuRoute, TiesGoToTheLowerIndex) {
    EXPECT_EQ(route({1, 2, 1, 2, 2, 0}, 6, 5).ids, (Ids{1, 3, 4, 0, 2}));
    EXPECT_EQ(route(std::vector<float>(130, 0.5f), 130, 3).ids, (Ids{0, 1, 2}));
}

TEST_P(GpuRoute, NaNIsNeverLargerYetStaysWhereItComesFirst) {
    EXPECT_EQ(route({1, NAN, 3, 2}, 4, 3).ids, (Ids{2, 3, 0}));
    EXPECT_EQ(route({NAN, 1, 3, 2}, 4, 2).ids, (Ids{0, 2}));
    const Choice all = route({NAN, NAN, NAN}, 3, 2);
    EXPECT_EQ(all.ids, (Ids{0, 1}));
    EXPECT_TRUE(std::isnan(all.weights[0]));
}

TEST_P(GpuRoute, ForcedExpertsAreKeptWithinTheirNumber) {
    const Choice found = route({0, 0, 0, 0, 0, 0, 0, 0}, 4, 2, {}, {3, 1, -1, 4});
    EXPECT_EQ(found.ids, (Ids{3, 1, 3, 3}));
    EXPECT_NEAR(found.weights[0], 1, 1e-5);
}

}  // namespace
}  // namespace lfm::gpu::test
