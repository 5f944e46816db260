// A session that goes on while its model moves to another split.
#include <iostream>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "planner/model/shape.h"
#include "planner/plan/resplit.h"
#include "runtime/session/split_watch.h"
#include "tests/device_kinds.h"
#include "tests/nmse.h"
#include "tests/scaled_plan.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=5,n_layer_dense=1,n_embd=64,n_head=4,n_head_kv=2,n_ff=128,n_ff_exp=64,n_expert=8,"
    "n_expert_used=2,n_vocab=300:F32";
constexpr SessionSizes kSizes{.n_ctx = 200, .n_batch = 16, .n_outputs = 1};
constexpr Bytes kMore{std::uint64_t{1} << 16};  // that a device may round up

std::vector<std::int32_t> tokens(std::uint32_t first, std::uint32_t n) {
    std::vector<std::int32_t> tokens;
    for (std::uint32_t i = first; i < first + n; ++i) tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 300));
    return tokens;
}

class MovedSession : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = kind().absence(); !why.empty()) GTEST_SKIP() << why;
        placed_.emplace(place(request(), ledger_));
        ASSERT_TRUE(placed_->plan().uses_device());
    }
    const DeviceKind& kind() const { return GetParam(); }

    Plan plan_at(double share) const {
        const Bytes budget = budget_at(share, description_, machine_, kSizes);
        return std::get<Plan>(make_plan(description_, machine_, {.sizes = kSizes, .vram_budget = budget}));
    }
    PlaceRequest request() { return request(budget_at(0.3, description_, machine_, kSizes)); }
    PlaceRequest request(Bytes budget) {
        return {.model = description_,
                .session = {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2},
                .plan = Planning{machine_, {.sizes = kSizes, .vram_budget = budget}},
                .open =
                    [this](const DeviceOptions& wanted) {
                        if (n_refused_ > 0 && n_refused_-- > 0)
                            throw Error(ErrorCode::kShortfall, "device", "expected memory, found none");
                        return kind().open(wanted, ledger_);
                    },
                .load = [this](const Plan& plan,
                               const DeviceLoad& to) { return Model::random(description_, plan, 5, ledger_, to); },
                .progress = {},
                .note = [this](const std::string& note) { notes_ += note + '\n'; }};
    }

    void move_to(const Plan& plan) { move_to(plan, request()); }
    void move_to(const Plan& plan, const PlaceRequest& wanted) {
        Placed old = std::move(*placed_);
        placed_.reset();
        placed_.emplace(place_anew(std::move(old), plan, wanted, ledger_));
    }

    /// Appends the next n tokens here and to a session on the host alone: the same logits.
    void go_on(std::uint32_t n) {
        const auto next = tokens(host_.position(), n);
        const auto expected = host_.append(next), found = placed_->session().append(next);
        EXPECT_LE(nmse(found, expected), kind().exact_placement_nmse);
        EXPECT_EQ(placed_->session().position(), host_.position());
    }

    Ledger ledger_, host_ledger_;
    ModelDescription description_ = describe_shape(kMoe);
    MachineProfile machine_ = scaled_machine(context_of(kind()) + kMore, kind().planned_as);
    Model host_model_ = Model::random(description_, make_host_plan(description_, kSizes), 5, host_ledger_);
    Session host_{host_model_, {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2}, host_ledger_};
    std::string notes_;
    int n_refused_ = 0;
    std::optional<Placed> placed_;
    SplitWatch splits_;
};

TEST_P(MovedSession, GoesOnWhereverItsModelIs) {
    go_on(21);
    for (std::uint32_t i = 0; i < 3; ++i) go_on(1);
    const Plan larger = plan_at(0.8);
    EXPECT_NE(larger.experts, placed_->plan().experts);
    move_to(larger);
    EXPECT_EQ(placed_->plan().experts, larger.experts);
    EXPECT_LE(placed_->device()->peak(), larger.vram_budget);
    go_on(1);
    const Checkpoint mark = placed_->session().checkpoint();
    const Checkpoint host_mark = host_.checkpoint();
    go_on(20);
    move_to(make_host_plan(description_, kSizes));
    EXPECT_EQ(placed_->device(), nullptr);
    // Before anything is computed anew: back to where it was on the device.
    placed_->session().restore(mark);
    host_.restore(host_mark);
    go_on(3);
    move_to(larger);
    go_on(17);
    EXPECT_EQ(notes_, "");
}

TEST_P(MovedSession, TakesLessWhenTheDeviceRefuses) {
    go_on(5);
    n_refused_ = 1;
    move_to(plan_at(0.8));
    EXPECT_NE(notes_.find("planned again"), std::string::npos) << notes_;
    EXPECT_NE(placed_->device(), nullptr);
    go_on(5);
    n_refused_ = 100;
    move_to(plan_at(0.8));
    EXPECT_NE(notes_.find("the CPU alone computes"), std::string::npos) << notes_;
    EXPECT_EQ(placed_->device(), nullptr);
    go_on(5);
}

TEST_P(MovedSession, LeavesNothingBehind) {
    go_on(5);
    move_to(plan_at(0.8));
    const auto lines = ledger_.lines();
    for (int i = 0; i < 3; ++i) move_to(plan_at(0.8));
    const auto lines_after = ledger_.lines();
    ASSERT_EQ(lines.size(), lines_after.size());
    for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i].bytes, lines_after[i].bytes);
}

TEST_P(MovedSession, StaysWithoutAReason) {
    go_on(5);
    EXPECT_FALSE(splits_.look(*placed_, request())) << "nothing was learnt yet";
    go_on(5);
}

/// A profile that takes the host for much faster than it is leaves it a share of the experts; the truth does not.
TEST_P(MovedSession, MovesWhenTheHostIsSlowerThanItsProfile) {
    if (std::string(kind().name) == "Sim") GTEST_SKIP() << "a simulated host takes the time that was planned";
    if (std::string(kind().planned_as) == "emulated") GTEST_SKIP() << "no host is slower than an emulated card";
    const auto plan_with = [&](double faster) {
        machine_ = with_slower_host(scaled_machine(context_of(kind()) + kMore, kind().planned_as), 1 / faster);
        return std::get<Plan>(make_plan(description_, machine_, {.sizes = kSizes}));
    };
    const std::uint32_t n_experts = 4 * 8;
    double faster = 1;
    const auto is_split = [&](const Plan& plan) {
        return plan.n_experts_on(kDevice) >= n_experts / 8 && plan.n_experts_on(kDevice) <= n_experts * 7 / 8;
    };
    while (faster < 1e6 && !is_split(plan_with(faster))) faster *= 1.5;
    const Plan plan = plan_with(faster);
    ASSERT_TRUE(is_split(plan)) << "no such profile";
    placed_.emplace(place(request(plan.vram_budget), ledger_));
    go_on(4);
    for (std::uint32_t i = 0; i < CostLearner::kWarmUp + CostLearner::kLearnedSteps; ++i) go_on(1);
    ASSERT_TRUE(placed_->session().engine().learnt());
    std::cout << "the host takes " << *placed_->session().engine().learnt()->host_factor << " times as long\n";
    PlaceRequest wanted = request(plan.vram_budget);
    const auto better = splits_.look(*placed_, wanted);
    ASSERT_TRUE(better);
    EXPECT_LT(better->split.then, better->split.now);
    wanted.plan = better->planning;
    move_to(better->split.plan, wanted);
    EXPECT_GT(placed_->plan().n_experts_on(kDevice), plan.n_experts_on(kDevice));
    go_on(5);
    EXPECT_FALSE(splits_.look(*placed_, wanted)) << "not twice";
}

INSTANTIATE_TEST_SUITE_P(Devices, MovedSession, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
