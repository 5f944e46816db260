// The golden models with everything on a device, and split by the planner.
#include <gtest/gtest.h>

#include <iomanip>
#include <iostream>

#include "tests/device_kinds.h"
#include "tests/models/golden_models.h"
#include "tests/runtime/random_placement.h"
#include "tests/scaled_plan.h"

namespace lfm::test {
namespace {

constexpr Bytes kBudget{std::uint64_t{256} << 20};
constexpr std::uint32_t kSingle = 6;  // tokens at the end, one by one

class GoldenHybrid : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (models_.empty()) GTEST_SKIP() << "golden data absent: set LFM_GOLDEN to its folder";
        if (const std::string why = kind().absence(); !why.empty()) GTEST_SKIP() << why;
    }
    const DeviceKind& kind() const { return GetParam(); }

    double limit(const GoldenModel& golden) const {
        if (golden.name.find("-F16") != std::string::npos) return kind().f16_nmse;
        return golden.routes.empty() ? 1.25 * golden.other_nmse : 0.005;
    }

    using MakePlan = std::function<Plan(const ModelDescription&, const SessionSizes&)>;
    /// Runs every model (on slow devices every eighth) by the plan that `make` gives and compares its logits.
    void check(const MakePlan& make) {
        for (std::size_t i = 0; i < models_.size(); i += kind().is_slow() ? 8 : 1) {
            const GoldenModel& golden = models_[i];
            SCOPED_TRACE(golden.name);
            const ModelDescription description = describe(golden);
            const SessionSizes sizes = golden_sizes(golden);
            Ledger ledger;
            const auto device = kind().open({.budget = kBudget, .limits = {sizes.n_batch, sizes.n_ctx}}, ledger);
            const Plan plan = with_supported_only(make(description, sizes), description, *device);
            const ForwardResult result =
                forward(golden, {.options = {.n_threads = 2},
                                 .routing = golden.routes.empty() ? Routing::kRouter : Routing::kGolden,
                                 .plan = &plan,
                                 .device = device.get(),
                                 .n_single = kSingle});
            ASSERT_EQ(result.logits.size(), golden.logits.size());
            const double error = nmse(result.logits, golden.logits);
            EXPECT_LE(error, limit(golden));
            EXPECT_EQ(result.routes, golden.routes);
            report(golden, plan, error);
        }
    }

    void report(const GoldenModel& golden, const Plan& plan, double error) const {
        const auto n_layer = std::ranges::count(plan.layers, kDevice);
        std::cout << std::left << std::setw(20) << golden.name << n_layer << " of " << plan.layers.size() << " layers, "
                  << plan.n_experts_on(kDevice) << " of "
                  << plan.model.n_expert * (plan.model.n_layer - plan.model.n_layer_dense)
                  << " experts on the device: nmse " << error << " (at most " << limit(golden) << ")\n";
    }

    std::vector<GoldenModel> models_ = golden_models();
};

TEST_P(GoldenHybrid, EverythingOnTheDevice) {
    check([](const ModelDescription& description, const SessionSizes& sizes) {
        return placed_plan(description, sizes, Placing::kAllOnDevice);
    });
}

TEST_P(GoldenHybrid, SplitByThePlanner) {
    const MachineProfile machine = scaled_machine({});
    check([&](const ModelDescription& description, const SessionSizes& sizes) {
        const bool moe = description.hyper.n_expert > 0;
        for (const double share : {0.5, 0.4, 0.3, 0.2, 0.1}) {  // what fits whole is not split
            const Bytes budget = budget_at(share, description, machine, sizes);
            const Plan plan = std::get<Plan>(make_plan(description, machine, {.sizes = sizes, .vram_budget = budget}));
            const auto n_layer = std::ranges::count(plan.layers, kDevice);
            const bool split = moe ? plan.n_experts_on(kDevice) > 0 && plan.n_experts_on(kHost) > 0
                                   : n_layer > 0 && n_layer < std::ssize(plan.layers);
            if (split) return plan;
        }
        throw std::runtime_error("no budget splits the model");
    });
}

INSTANTIATE_TEST_SUITE_P(Devices, GoldenHybrid, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
