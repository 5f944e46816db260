// The shared operation cases on every usable Vulkan device of the machine, also under the validation layer.
#include <mutex>
#include <tuple>

#include <gtest/gtest.h>

#include "backends/vulkan/vulkan_device.h"
#include "tests/backends/operation_cases/run_case.h"

namespace lfm::operation_cases {
namespace {

using vulkan::Validation;

constexpr const char* kNoLayer = "the validation layer is not installed";

/// What the validation layer has to say, from any thread.
class Reports {
public:
    void add(std::string_view text) {
        const std::lock_guard lock(mutex_);
        if (n_++ < 3) first_ += std::string(text) + '\n';
    }
    void expect_none() {
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(n_, 0) << first_;
    }

private:
    std::mutex mutex_;
    int n_ = 0;
    std::string first_;
};

class VulkanOperationCases : public testing::TestWithParam<std::tuple<std::string, Validation>> {
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

    /// test(bed, device) for each. One bed for a device's life, as its programs name what the bed owns.
    template <typename Test>
    void on_each_device(Validation validation, const Test& test) {
        for (const vulkan::VulkanInfo& info : usable_) {
            SCOPED_TRACE(info.name);
            std::cout << info.name << ": ";
            Reports reports;
            Ledger ledger;
            {
                const std::unique_ptr<Device> device =
                    vulkan::make_vulkan_device({.index = info.index,
                                                .budget = {std::uint64_t{1} << 30},
                                                .limits = kLimits,
                                                .validation = validation,
                                                .report = [&reports](std::string_view text) { reports.add(text); }},
                                               ledger);
                DevicePlace place(*device);
                Bed bed(*device, place, Bars::gpu(), device->id());
                test(bed, *device);
            }
            reports.expect_none();
        }
    }

    static bool lacks_layer(Validation validation) {
        return validation != Validation::kNone && !vulkan::has_validation_layer();
    }

private:
    std::vector<vulkan::VulkanInfo> usable_;
};

std::string name_of(const testing::TestParamInfo<VulkanOperationCases::ParamType>& at) {
    constexpr const char* kChecks[] = {"", "_checked_calls"};
    return std::get<0>(at.param) + kChecks[static_cast<std::size_t>(std::get<1>(at.param))];
}

INSTANTIATE_TEST_SUITE_P(All, VulkanOperationCases,
                         testing::Combine(testing::ValuesIn(group_names()),
                                          testing::Values(Validation::kNone, Validation::kCalls)),
                         name_of);

TEST_P(VulkanOperationCases, MeetTheBars) {
    const auto& [name, validation] = GetParam();
    if (lacks_layer(validation)) GTEST_SKIP() << kNoLayer;
    const std::vector<Group> all = groups();
    const Group& group = group_called(all, name);
    on_each_device(validation, [&group](Bed& bed, Device& device) {
        if (group.n_cases(device) == 0) GTEST_SKIP() << "no kernels for this type, so that it runs on the CPU by plan";
        group.run(bed, device, 1);
    });
}

/// Compiling the shaders that check themselves takes seconds each, so that one device runs some cases of all groups.
class VulkanOperationCasesCheckedShaders : public VulkanOperationCases {};

INSTANTIATE_TEST_SUITE_P(All, VulkanOperationCasesCheckedShaders,
                         testing::Combine(testing::Values("matmul", ""), testing::Values(Validation::kShaders)),
                         [](const auto& at) {
                             return std::string(std::get<0>(at.param).empty() ? "others" : std::get<0>(at.param));
                         });

TEST_P(VulkanOperationCasesCheckedShaders, MeetTheBars) {
    if (lacks_layer(Validation::kShaders)) GTEST_SKIP() << kNoLayer;
    const bool of_matmul = std::get<0>(GetParam()) == "matmul";
    on_each_device(Validation::kShaders, [&](Bed& bed, Device& device) {
        for (const Group& group : groups())
            if (group.name.starts_with("matmul") == of_matmul) {
                std::cout << group.name << ": ";
                group.run(bed, device, 11);
            }
    });
}

TEST_F(VulkanOperationCases, AreMoreThanAThousand) {
    on_each_device(Validation::kNone, [](Bed&, Device& device) {
        std::cout << n_cases(device) << " cases\n";
        EXPECT_GE(n_cases(device), 1000u);
    });
}

}  // namespace
}  // namespace lfm::operation_cases
