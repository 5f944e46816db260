#include "runtime/experts/cost_learner.h"

#include <gtest/gtest.h>

namespace lfm::test {
namespace {

TEST(CostLearner, AnswersEveryHundredStepsAfterTheFirstFew) {
    CostLearner learner;
    for (std::uint32_t i = 0; i < CostLearner::kWarmUp; ++i) EXPECT_FALSE(learner.add({.total = 100, .experts = 50}));
    for (int round = 0; round < 2; ++round)
        for (std::uint32_t i = 1; i <= CostLearner::kLearnedSteps; ++i) {
            const auto learnt = learner.add({.total = 0.02, .experts = 0.013, .experts_planned = 0.01});
            ASSERT_EQ(learnt.has_value(), i == CostLearner::kLearnedSteps);
            if (!learnt) continue;
            EXPECT_EQ(learnt->n_steps, CostLearner::kLearnedSteps);
            EXPECT_NEAR(learnt->tokens_per_second, 50, 1e-9);
            ASSERT_TRUE(learnt->host_factor);
            EXPECT_NEAR(*learnt->host_factor, 1.3, 1e-9);
        }
}

TEST(CostLearner, WithoutHostExpertsThereIsNoFactor) {
    CostLearner learner;
    std::optional<Learnt> learnt;
    for (std::uint32_t i = 0; i < CostLearner::kWarmUp + CostLearner::kLearnedSteps; ++i)
        learnt = learner.add({.total = 0.01});
    ASSERT_TRUE(learnt);
    EXPECT_FALSE(learnt->host_factor);
}

/// Five rounds of a hundred steps: each factor is relative to the profile, each change to the factors applied before.
TEST(CostLearner, SpeaksOfTheProfileAlsoAfterItHasLearnt) {
    CostLearner learner;
    for (std::uint32_t i = 0; i < CostLearner::kWarmUp; ++i) learner.add({});
    struct Hundred {
        double experts, change;
    };
    for (const Hundred& hundred : {Hundred{0.015, 1.5}, {0.015, 1}, {0.0159, 1}, {0.03, 2}, {0.01, 1.0 / 3}}) {
        std::optional<Learnt> learnt;
        for (std::uint32_t i = 0; i < CostLearner::kLearnedSteps; ++i)
            learnt = learner.add({.total = 0.02, .experts = hundred.experts, .experts_planned = 0.01});
        ASSERT_TRUE(learnt && learnt->host_factor);
        EXPECT_NEAR(*learnt->host_factor, hundred.experts / 0.01, 1e-9);
        EXPECT_NEAR(learnt->change, hundred.change, 1e-9) << hundred.experts;
    }
}

}  // namespace
}  // namespace lfm::test
