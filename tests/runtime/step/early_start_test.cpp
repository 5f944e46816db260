// Kernels that start while the one before still runs give the bits of those that start in turn.
#include <gtest/gtest.h>

#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 1};

class EarlyStart : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
    }
    /// Of steps of one token and of several.
    static std::vector<float> logits(const ModelDescription& description, const Plan& plan, bool starts_early) {
        Ledger ledger;
        const auto device = GetParam().open({.budget = {std::uint64_t{1} << 30},
                                             .limits = {kSizes.n_batch, kSizes.n_ctx},
                                             .starts_early = starts_early},
                                            ledger);
        std::vector<float> all;
        {
            const Model model = Model::random(description, plan, 3, ledger, {device.get()});
            Session session(
                model,
                {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2, .after_loss = AfterLoss::kThrow},
                ledger);
            const std::vector<std::int32_t> tokens{5, 17, 100, 3, 42, 42, 7, 150, 9, 11, 12, 13};
            for (const std::size_t n : {1u, 1u, 5u, 1u}) {
                const auto some = session.append(std::span(tokens).first(n));
                all.insert(all.end(), some.begin(), some.end());
            }
        }
        for (const std::string& remark : device->remarks())
            if (remark.find("not early") != std::string::npos) why_not_ = remark;
        return all;
    }

    static inline std::string why_not_;
};

TEST_P(EarlyStart, GivesTheSameBits) {
    std::vector<std::string> types{"F32", "Q4_0"};
    if (std::getenv("LFM_FULL") != nullptr) types.insert(types.end(), {"F16", "Q8_0", "Q4_K_M", "Q6_K"});
    for (const std::string& type : types) {
        const ModelDescription description = describe_shape(
            "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=256,n_head=4,n_head_kv=2,n_ff=256,n_ff_exp=256,n_expert=8,"
            "n_expert_used=2,n_vocab=300:" +
            type);
        for (const Placing placing : {Placing::kAllOnDevice, Placing::kRandom}) {
            SCOPED_TRACE(type + (placing == Placing::kRandom ? ", hybrid" : ", resident"));
            const Plan plan = placed_plan(description, kSizes, placing, 3);
            const std::vector<float> in_turn = logits(description, plan, false);
            EXPECT_EQ(logits(description, plan, true), in_turn);
        }
    }
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
}

INSTANTIATE_TEST_SUITE_P(Kinds, EarlyStart, testing::Values(kDeviceKinds[2], kDeviceKinds[4], kDeviceKinds[5]),
                         kind_name);

}  // namespace
}  // namespace lfm::test
