// The shared operation cases on every usable Vulkan device of the machine.
#include <array>

#include <gtest/gtest.h>

#include "backends/vulkan/vulkan_device.h"
#include "tests/backends/operation_cases/batch.h"
#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/operation_cases/run_nan.h"

namespace lfm::operation_cases {
namespace {

constexpr double kBatchBar = 1e-10;  // sums of floats in another order

class VulkanOperationCases : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        std::string found = "no Vulkan driver or device";
        for (const vulkan::VulkanInfo& info : vulkan::list_devices()) {
            if (info.why_unusable.empty())
                usable_.push_back(info);
            else
                found = info.name + ": " + info.why_unusable;
        }
        if (usable_.empty()) GTEST_SKIP() << found;
    }

    /// test(device) for each.
    template <typename Test>
    void on_each_device(const Test& test, ActivationKind activations = ActivationKind::kQuantised,
                        const BackendLimits& limits = kLimits) {
        for (const vulkan::VulkanInfo& info : usable_) {
            SCOPED_TRACE(info.name);
            Ledger ledger;
            const std::unique_ptr<Device> device = vulkan::make_vulkan_device(
                {.index = info.index, .budget = {std::uint64_t{1} << 30}, .limits = limits, .activations = activations},
                ledger);
            std::cout << info.name << ": ";
            test(*device);
        }
    }

private:
    std::vector<vulkan::VulkanInfo> usable_;
};

INSTANTIATE_TEST_SUITE_P(All, VulkanOperationCases, testing::ValuesIn(group_names()),
                         [](const auto& at) { return at.param; });

TEST_P(VulkanOperationCases, MeetTheBars) {
    const std::vector<Group> all = groups();
    const Group& group = group_called(all, GetParam());
    on_each_device([&group](Device& device) {
        if (group.n_cases(device) == 0) GTEST_SKIP() << "no kernels for this type, so that it runs on the CPU by plan";
        DevicePlace place(device);
        Bed bed(device, place, Bars::gpu(), device.id());
        group.run(bed, device);
    });
}

std::vector<std::string> groups_with_weights() {
    std::vector<std::string> names = group_names();
    std::erase_if(names, [](const std::string& name) {
        return !name.starts_with("matmul") && name != "route" && name != "expert_ffn";
    });
    return names;
}

/// Compared with f64 on unquantised activations, like the CPU's exact kernels.
class VulkanFloatActivations : public VulkanOperationCases {};
INSTANTIATE_TEST_SUITE_P(All, VulkanFloatActivations, testing::ValuesIn(groups_with_weights()),
                         [](const auto& at) { return at.param; });

TEST_P(VulkanFloatActivations, MeetTheBars) {
    const std::vector<Group> all = groups();
    const Group& group = group_called(all, GetParam());
    on_each_device(
        [&group](Device& device) {
            DevicePlace place(device);
            Bars bars = Bars::gpu();
            bars.activations = reference::Activations::kPlain;
            Bed bed(device, place, bars, device.id());
            group.run(bed, device);
        },
        ActivationKind::kFloat);
}

TEST_F(VulkanOperationCases, NaNSpreads) {
    on_each_device([](Device& device) {
        DevicePlace place(device);
        Bed bed(device, place, Bars::gpu(), device.id());
        // Each type compiles six more shaders, so only one type for each form of a block's scale and minimum.
        check_that_nan_spreads(bed, std::array{DType::kF16, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K});
    });
}

TEST_F(VulkanOperationCases, SequencesShareSteps) {
    on_each_device(
        [](Device& device) {
            for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0}) {
                SCOPED_TRACE(dtype_name(type));
                DevicePlace place(device);
                const BatchTarget target{device, place, type, kBatchBar, kBatchBar};
                check_that_sequences_are_as_alone(target);
                check_that_others_go_on_from_any_token(target);
                EXPECT_EQ(place.n_damaged(), 0u);
            }
        },
        ActivationKind::kQuantised, kBatchLimits);
}

TEST_F(VulkanOperationCases, AreMoreThanAThousand) {
    on_each_device([](Device& device) {
        std::cout << n_cases(device) << " cases\n";
        EXPECT_GE(n_cases(device), 1000u);
    });
}

}  // namespace
}  // namespace lfm::operation_cases
