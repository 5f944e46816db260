// Steps that are stopped in their middle, wherever that is, and then done: as if nothing had happened.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "memory/error.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "runtime/session/session.h"
#include "tests/device_kinds.h"
#include "tests/scaled_plan.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=6,n_layer_dense=1,n_embd=64,n_head=4,n_head_kv=2,n_ff=128,n_ff_exp=64,n_expert=8,"
    "n_expert_used=2,n_vocab=300:Q8_0";
constexpr SessionSizes kSizes{.n_ctx = 200, .n_batch = 16, .n_outputs = 1};
constexpr Bytes kMore{std::uint64_t{1} << 16};  // that a device may round up
using Clock = std::chrono::steady_clock;

class InterruptedSession : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
        const MachineProfile machine = scaled_machine(context_of(GetParam()) + kMore, GetParam().planned_as);
        const Bytes budget = budget_at(0.5, description_, machine, kSizes);
        plan_ = std::get<Plan>(make_plan(description_, machine, {.sizes = kSizes, .vram_budget = budget}));
        ASSERT_TRUE(plan_.uses_device());
        device_ = GetParam().open({.budget = budget, .limits = {kSizes.n_batch, kSizes.n_ctx}}, ledger_);
        model_.emplace(Model::random(description_, plan_, 5, ledger_, {device_.get()}));
        session_.emplace(
            *model_,
            SessionOptions{
                .n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2, .adaptation = Adaptation::kOff},
            ledger_);
    }

    std::vector<float> append(std::uint32_t n) {
        std::vector<std::int32_t> tokens;
        for (std::uint32_t i = session_->position(); tokens.size() < n; ++i)
            tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 300));
        const auto logits = session_->append(tokens);
        return {logits.begin(), logits.end()};
    }

    /// Whether it was stopped, after that time.
    bool is_stopped(std::uint32_t n, Clock::duration after) {
        std::atomic<bool> stop = false;
        session_->set_stop_flag(&stop);
        std::thread stopper([&] {
            std::this_thread::sleep_for(after);
            stop = true;
        });
        bool stopped = false;
        const std::uint32_t before = session_->position();
        try {
            append(n);
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInterrupted) << error.what();
            EXPECT_EQ(session_->position(), before);
            stopped = true;
        }
        stopper.join();
        session_->set_stop_flag(nullptr);
        return stopped;
    }

    Ledger ledger_;
    ModelDescription description_ = describe_shape(kMoe);
    Plan plan_;
    std::unique_ptr<Device> device_;
    std::optional<Model> model_;
    std::optional<Session> session_;
};

TEST_P(InterruptedSession, GoesOnAsIfNothingHadHappened) {
    const std::vector<std::uint32_t> steps{16, 1, 16, 7, 1, 1, 16, 2};
    std::vector<std::vector<float>> expected;
    std::vector<Clock::duration> times;
    for (const std::uint32_t n : steps) {
        const auto begin = Clock::now();
        expected.push_back(append(n));
        times.push_back(Clock::now() - begin);
    }
    int n_stopped = 0, n_tried = 0;
    const int rounds = GetParam().is_slow() ? 2 : 4;
    for (int round = 0; round < rounds || (n_stopped == 0 && round < 40); ++round) {
        const int eighth = 1 + round * 2 % 8;
        session_->reset();
        for (std::size_t i = 0; i < steps.size(); ++i) {
            ++n_tried;
            if (is_stopped(steps[i], times[i] * eighth / 8)) {
                ++n_stopped;
            } else {
                // It was too quick: the same beginning once more.
                session_->reset();
                for (std::size_t j = 0; j < i; ++j) append(steps[j]);
            }
            ASSERT_EQ(append(steps[i]), expected[i]) << "step " << i << ", stopped after " << eighth << "/8";
        }
    }
    EXPECT_GT(n_stopped, 0);
    std::printf("%d of %d steps were stopped in their middle\n", n_stopped, n_tried);
}

INSTANTIATE_TEST_SUITE_P(Devices, InterruptedSession, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
