// Which experts a device holds, as steps go by: pinned ones stay, slots follow the text, a smaller budget takes slots.
#include "runtime/experts/expert_residency.h"

#include <gtest/gtest.h>

#include "backends/sim/sim_device.h"
#include "planner/model/shape.h"
#include "runtime/tensors/model.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kUsed = 2, kExperts = 8;

class Residency : public testing::Test {
protected:
    Residency() {
        plan_ = placed_plan(description_, {.n_ctx = 64, .n_batch = 4}, Placing::kAllOnDevice);
        for (std::uint32_t layer = 1; layer < description_.hyper.n_layer; ++layer) {
            for (std::uint32_t e = 2; e < kExperts; ++e) plan_.experts[layer * kExperts + e] = kHost;
            plan_.n_slots[layer] = 3;
        }
        device_ = sim::make_sim_device({.budget = {1ull << 28}, .limits = {.n_batch = 4, .n_ctx = 64}}, ledger_);
        model_.emplace(Model::random(description_, plan_, 3, ledger_, {device_.get()}));
    }

    ExpertResidency make(Adaptation adaptation) {
        return ExpertResidency({plan_, model_->weights(), device_.get(), times_, adaptation, 1});
    }
    std::size_t n_held(const ExpertResidency& residency, std::uint32_t layer) const {
        std::size_t n = 0;
        for (std::uint32_t e = 0; e < kExperts; ++e) n += holds(residency, layer, e);
        return n;
    }
    static bool holds(const ExpertResidency& residency, std::uint32_t layer, std::uint32_t expert) {
        return residency.table()[{LayerId{layer}, expert}].holder == kDevice;
    }
    /// Every MoE layer uses these two.
    void step(ExpertResidency& residency, std::int32_t a, std::int32_t b) {
        device_->begin_step();
        std::vector<std::vector<std::int32_t>> ids(description_.hyper.n_layer - 1, {a, b});
        std::vector<ExpertChoice> choices;
        for (auto& each : ids) choices.push_back({each.data(), nullptr});
        residency.end_step(choices, 1);
    }

    const ModelDescription description_ = describe_shape(
        "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
        "n_expert_used=2,n_vocab=200:F16");
    Ledger ledger_;
    Plan plan_;
    std::unique_ptr<sim::SimDevice> device_;
    std::optional<Model> model_;
    std::vector<ExpertTimes> times_;
};

TEST_F(Residency, BeginsWithThePinnedAndFullSlots) {
    ExpertResidency residency = make(Adaptation::kOn);
    for (std::uint32_t layer = 1; layer < 4; ++layer) {
        EXPECT_TRUE(holds(residency, layer, 0) && holds(residency, layer, 1)) << layer;
        EXPECT_EQ(n_held(residency, layer), 5u) << layer;
    }
}

TEST_F(Residency, SlotsFollowWhatIsUsed) {
    ExpertResidency residency = make(Adaptation::kOn);
    for (int i = 0; i < 40; ++i) step(residency, 6, 7);
    for (std::uint32_t layer = 1; layer < 4; ++layer) {
        EXPECT_TRUE(holds(residency, layer, 6) && holds(residency, layer, 7)) << layer;
        EXPECT_TRUE(holds(residency, layer, 0) && holds(residency, layer, 1)) << "pinned";
        EXPECT_EQ(n_held(residency, layer), 5u) << layer;
    }
    EXPECT_GT(residency.fetched().value, 0u);
    EXPECT_GT(residency.hits().cached, 0u);
}

TEST_F(Residency, KeepsEverythingInPlaceWhenNothingMayAdapt) {
    ExpertResidency residency = make(Adaptation::kOff);
    std::vector<bool> before, after;
    for (std::uint32_t e = 0; e < kExperts; ++e) before.push_back(holds(residency, 2, e));
    for (int i = 0; i < 40; ++i) step(residency, 6, 7);
    for (std::uint32_t e = 0; e < kExperts; ++e) after.push_back(holds(residency, 2, e));
    EXPECT_EQ(before, after);
    EXPECT_EQ(residency.fetched().value, 0u);
}

TEST_F(Residency, GivesSlotsUpWhenTheBudgetShrinks) {
    ExpertResidency residency = make(Adaptation::kOn);
    const Bytes before = device_->allocated();
    device_->inject({.shrink_at_step = 1, .shrunk_budget = {before.value - 1}});
    device_->begin_step();
    ASSERT_LT(device_->budget(), before);
    EXPECT_GT(residency.fit_budget().value, 0u);
    EXPECT_LE(device_->allocated(), device_->budget());
    EXPECT_LT(n_held(residency, 3), 5u) << "the last layer's first";
    EXPECT_EQ(n_held(residency, 1), 5u);
}

}  // namespace
}  // namespace lfm::test
