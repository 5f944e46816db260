// The shared operation cases on the GPU backend, its kernels emulated in both orders.
#include <array>
#include <cstdlib>
#include <tuple>

#include "tests/backends/gpu/emulated_device.h"
#include "tests/backends/operation_cases/batch.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::operation_cases {
namespace {

using gpu::emulation::Order;

class GpuOperationCases : public testing::TestWithParam<std::tuple<std::string, Order>> {
protected:
    void SetUp() override { gpu::emulation::set_order(std::get<1>(GetParam())); }
    void TearDown() override { gpu::emulation::set_order(Order::kForward); }

    void run(ActivationKind activations) {
        const std::vector<Group> all = groups();
        const Group& group = group_called(all, std::get<0>(GetParam()));
        Ledger ledger;
        const auto device = test::open_emulated(kLimits, ledger, activations);
        if (group.n_cases(*device) == 0) GTEST_SKIP() << "no kernels for this type, so that it runs on the CPU by plan";
        DevicePlace place(*device);
        Bars bars = Bars::gpu();
        if (activations == ActivationKind::kFloat) bars.activations = reference::Activations::kPlain;
        Bed bed(*device, place, bars, device->id());
        // In reverse order half of them, unless LFM_FULL is set: the kernels are the same.
        const bool all_of_them = std::get<1>(GetParam()) == Order::kForward || std::getenv("LFM_FULL") != nullptr;
        group.run(bed, *device, all_of_them ? Part{} : Part{.first = 1, .every = 2});
    }
};

std::string name_of(const testing::TestParamInfo<std::tuple<std::string, Order>>& at) {
    return std::get<0>(at.param) + "_" + test::order_name(std::get<1>(at.param));
}

INSTANTIATE_TEST_SUITE_P(All, GpuOperationCases,
                         testing::Combine(testing::ValuesIn(group_names()),
                                          testing::Values(Order::kForward, Order::kReverse)),
                         name_of);
TEST_P(GpuOperationCases, MeetTheBars) { run(ActivationKind::kQuantised); }

std::vector<std::string> groups_with_weights() {
    std::vector<std::string> names = group_names();
    std::erase_if(names, [](const std::string& name) {
        return !name.starts_with("matmul") && name != "route" && name != "expert_ffn";
    });
    return names;
}

/// Compared with f64 on unquantised activations, like the CPU's exact kernels.
class GpuFloatActivations : public GpuOperationCases {};
INSTANTIATE_TEST_SUITE_P(All, GpuFloatActivations,
                         testing::Combine(testing::ValuesIn(groups_with_weights()), testing::Values(Order::kForward)),
                         name_of);
TEST_P(GpuFloatActivations, MeetTheBars) { run(ActivationKind::kFloat); }

class GpuBatches : public testing::TestWithParam<Order> {
protected:
    void SetUp() override { gpu::emulation::set_order(GetParam()); }
    void TearDown() override { gpu::emulation::set_order(Order::kForward); }
};
INSTANTIATE_TEST_SUITE_P(Threads, GpuBatches, testing::Values(Order::kForward, Order::kReverse),
                         [](const auto& at) { return test::order_name(at.param); });

TEST_P(GpuBatches, SequencesShareSteps) {
    const auto types =
        GetParam() == Order::kForward ? std::vector{DType::kF16} : std::vector{DType::kF32, DType::kQ8_0};
    for (const DType type : types) {
        SCOPED_TRACE(dtype_name(type));
        Ledger ledger;
        const auto device = test::open_emulated(kBatchLimits, ledger);
        DevicePlace place(*device);
        const BatchTarget target{*device, place, type, 1e-6, 1e-10};  // keys and values may be multiplied as halves
        check_that_sequences_are_as_alone(target);
        check_that_others_go_on_from_any_token(target);
        EXPECT_EQ(place.n_damaged(), 0u);
    }
}

TEST(GpuOperations, NaNSpreads) {
    Ledger ledger;
    const auto device = test::open_emulated(kLimits, ledger);
    DevicePlace place(*device);
    Bed bed(*device, place, Bars::gpu(), device->id());
    check_that_nan_spreads(bed, std::array{DType::kF16, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K});
}

TEST(GpuOperations, AreMoreThanAThousand) {
    Ledger ledger;
    const auto device = test::open_emulated(kLimits, ledger);
    std::cout << n_cases(*device) << " cases\n";
    EXPECT_GE(n_cases(*device), 1000u);
}

}  // namespace
}  // namespace lfm::operation_cases
