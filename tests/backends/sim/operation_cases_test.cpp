// The shared operation cases on the simulated device, within the bars of the CPU: the arithmetic is the same.
#include <gtest/gtest.h>

#include "backends/sim/sim_device.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::operation_cases {
namespace {

class SimOperationCases : public testing::TestWithParam<std::string> {
protected:
    Ledger ledger_;
    std::unique_ptr<Device> device_ =
        sim::make_sim_device({.budget = {std::uint64_t{4} << 30}, .limits = kLimits}, ledger_);
};

INSTANTIATE_TEST_SUITE_P(All, SimOperationCases, testing::ValuesIn(group_names()),
                         [](const auto& at) { return at.param; });

TEST_P(SimOperationCases, MeetTheBars) {
    DevicePlace place(*device_);
    Bed bed(*device_, place, Bars::cpu(reference::Activations::kQuantised), device_->id());
    const std::vector<Group> all = groups();
    group_called(all, GetParam()).run(bed, *device_);
}

TEST_F(SimOperationCases, NaNSpreads) {
    DevicePlace place(*device_);
    Bed bed(*device_, place, Bars::cpu(reference::Activations::kQuantised), device_->id());
    check_that_nan_spreads(bed);
}

TEST_F(SimOperationCases, AreMoreThanAThousand) {
    std::cout << n_cases(*device_) << " cases\n";
    EXPECT_GE(n_cases(*device_), 1000u);
}

}  // namespace
}  // namespace lfm::operation_cases
