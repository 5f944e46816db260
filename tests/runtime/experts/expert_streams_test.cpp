// Which of the host's experts travel to the device: none, those that the plan names (before a long step), or those
// whose copy pays.
#include "runtime/experts/expert_streams.h"

#include <gtest/gtest.h>

#include "backends/sim/sim_device.h"
#include "planner/model/shape.h"
#include "runtime/experts/expert_residency.h"
#include "runtime/tensors/model.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kExperts = 8, kLayer = 1, kBatch = 16;

/// One MoE layer at home on the device with experts 0 to 3 there; 4 to 7 on the host, of which 6 and 7 travel in
/// prefill.
class Streams : public testing::Test {
protected:
    Streams() {
        plan_ = placed_plan(description_, {.n_ctx = 64, .n_batch = kBatch}, Placing::kAllOnDevice);
        for (std::uint32_t e = 4; e < kExperts; ++e) plan_.experts[kLayer * kExperts + e] = kHost;
        plan_.by_use[kLayer] = {7, 6, 5, 4, 3, 2, 1, 0};
        plan_.n_streamed[kLayer] = 2;
        plan_.n_staged = 4;
        device_ = sim::make_sim_device({.budget = {1ull << 28}, .limits = {.n_batch = kBatch, .n_ctx = 64}}, ledger_);
        model_.emplace(Model::random(description_, plan_, 3, ledger_, {device_.get()}));
        residency_.emplace(ExpertResidency::Inputs{plan_, model_->weights(), device_.get(), no_times_});
        staging_.emplace(plan_, model_->weights(), device_.get());
        rows_.emplace(description_.hyper, ActivationSizes{kBatch, 1}, staging_->layout().n_rounds(), device_.get(),
                      ledger_);
    }

    ExpertStreams streams(const ExpertTimes& times) {
        return ExpertStreams({plan_, model_->weights(), residency_->table(), *staging_, *rows_, {2, times}});
    }
    std::uint32_t round() const { return staging_->layout().first_round[kLayer]; }
    bool host_leaves_alone(std::uint32_t expert) { return staging_->layout().travelling(kLayer)[expert] >= 0; }
    void route(std::vector<std::int32_t> ids) { std::ranges::copy(ids, rows_->bridge(kHost).choices[0].ids); }

    const ModelDescription description_ = describe_shape(
        "lfm2moe,n_layer=2,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
        "n_expert_used=2,n_vocab=200:F16");
    const std::vector<ExpertTimes> no_times_;
    const ExpertTimes copying_is_free_{.host = 1, .host_while_copying = 1};
    const ExpertTimes copying_never_pays_{.host = 1e-9, .host_while_copying = 1e-9, .copy = 1};
    Ledger ledger_;
    Plan plan_;
    std::unique_ptr<sim::SimDevice> device_;
    std::optional<Model> model_;
    std::optional<ExpertResidency> residency_;
    std::optional<Staging> staging_;
    std::optional<StepRows> rows_;
};

TEST_F(Streams, NoneWhereTheHostIsFaster) {
    ExpertStreams streams = this->streams(copying_never_pays_);
    EXPECT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kNone);
    EXPECT_FALSE(streams.active(kLayer, round()));
    EXPECT_EQ(streams.n_travelled(), 0u);
}

TEST_F(Streams, AheadOfALongStepThoseThatThePlanNames) {
    ExpertStreams streams = this->streams(copying_never_pays_);
    ASSERT_EQ(streams.begin_step({.n_tokens = kBatch}), StreamMode::kAhead);
    EXPECT_TRUE(streams.active(kLayer, round()));
    EXPECT_EQ(streams.n_travelled(), 2u);
    for (std::uint32_t e = 0; e < kExperts; ++e) EXPECT_EQ(host_leaves_alone(e), e >= 6) << e;
    const ExpertSizes& sizes = model_->weights().expert_sizes(kLayer);
    EXPECT_EQ(streams.travelled(), Bytes{2 * (sizes.gate + sizes.up + sizes.down)});
    // The next step begins with clear maps.
    ASSERT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kNone);
    for (std::uint32_t e = 0; e < kExperts; ++e) EXPECT_FALSE(host_leaves_alone(e)) << e;
    EXPECT_EQ(streams.travelled(), Bytes{});
}

TEST_F(Streams, OnDemandThoseThatATokenMisses) {
    ExpertStreams streams = this->streams(copying_is_free_);
    ASSERT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kOnDemand);
    route({5, 2});  // one on the host, one on the device
    streams.decide(kLayer);
    EXPECT_EQ(streams.n_travelled(), 1u);
    EXPECT_TRUE(host_leaves_alone(5));
    EXPECT_EQ(streams.regions(round()).size(), 3u) << "gate, up and down";
    ASSERT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kOnDemand);
    route({1, 2});
    streams.decide(kLayer);
    EXPECT_EQ(streams.n_travelled(), 0u) << "both are there";
    EXPECT_FALSE(host_leaves_alone(5));
}

TEST_F(Streams, ExpertsThatDoNotExistDoNotTravel) {
    ExpertStreams streams = this->streams(copying_is_free_);
    ASSERT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kOnDemand);
    route({-1, 1 << 30});  // as a device that fails may leave them
    streams.decide(kLayer);
    EXPECT_EQ(streams.n_travelled(), 0u);
}

TEST_F(Streams, LearntTimesDecideFromThenOn) {
    ExpertStreams streams = this->streams(copying_never_pays_);
    EXPECT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kNone);
    streams.set_times({2, copying_is_free_});
    EXPECT_EQ(streams.begin_step({.n_tokens = 1}), StreamMode::kOnDemand);
}

}  // namespace
}  // namespace lfm::test
