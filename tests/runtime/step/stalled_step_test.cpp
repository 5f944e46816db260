// A device that gives up waiting for the host: the step is done again, with the same bits as if it had waited.
#include <gtest/gtest.h>

#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kShape =
    "lfm2moe,n_layer=8,n_layer_dense=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=32,n_expert=8,"
    "n_expert_used=2,n_vocab=200:F32";
constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 1};

struct Answer {
    std::vector<float> logits;
    std::uint64_t n_stalled = 0;
    std::string remarks;
};

/// Steps of one token and of several. `spin_seconds`: after which kernels give up.
Answer answer(const ModelDescription& description, const Plan& plan, double spin_seconds) {
    Ledger ledger;
    const auto device = emulated_module(32).module->open(
        {.budget = {std::uint64_t{1} << 28}, .limits = {kSizes.n_batch, kSizes.n_ctx}, .spin_seconds = spin_seconds},
        ledger);
    Answer answer;
    {
        const Model model = Model::random(description, plan, 3, ledger, {device.get()});
        Session session(
            model, {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2, .after_loss = AfterLoss::kThrow},
            ledger);
        const std::vector<std::int32_t> tokens{5, 17, 100, 3, 42, 42, 7, 150, 9, 11, 12, 13};
        for (const std::size_t n : {1u, 1u, 9u, 1u, 3u, 1u}) {
            const auto logits = session.append(std::span(tokens).first(n));
            answer.logits.insert(answer.logits.end(), logits.begin(), logits.end());
        }
        answer.n_stalled = session.engine().executor().n_stalled();
    }
    for (const std::string& remark : device->remarks()) answer.remarks += remark + '\n';
    return answer;
}

TEST(StalledStep, IsDoneAgainWithTheSameBits) {
    if (const std::string why = emulated_gpu_absence<32>(); !why.empty()) GTEST_SKIP() << why;
    const ModelDescription description = describe_shape(kShape);
    std::uint64_t n_stalled = 0;
    for (std::uint32_t seed = 1; seed < 12; ++seed) {
        SCOPED_TRACE(seed);
        const Plan plan = placed_plan(description, kSizes, Placing::kRandom, seed);
        const Answer patient = answer(description, plan, 60), hasty = answer(description, plan, 1e-7);
        EXPECT_EQ(patient.n_stalled, 0u);
        EXPECT_LE(hasty.n_stalled, 1u) << "after that kernels wait no more";
        EXPECT_EQ(hasty.logits, patient.logits);
        EXPECT_EQ(hasty.remarks.find("gave up waiting") != std::string::npos, hasty.n_stalled > 0) << hasty.remarks;
        n_stalled += hasty.n_stalled;
    }
    EXPECT_GT(n_stalled, 4u);
}

}  // namespace
}  // namespace lfm::test
