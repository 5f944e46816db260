// The shared operation cases on every usable Vulkan device of the machine.
#include <gtest/gtest.h>

#include "backends/vulkan/vulkan_device.h"
#include "tests/backends/operation_cases/run_case.h"

namespace lfm::operation_cases {
namespace {

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
    void on_each_device(const Test& test) {
        for (const vulkan::VulkanInfo& info : usable_) {
            SCOPED_TRACE(info.name);
            Ledger ledger;
            const std::unique_ptr<Device> device = vulkan::make_vulkan_device(
                {.index = info.index, .budget = {std::uint64_t{1} << 30}, .limits = kLimits}, ledger);
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

TEST_F(VulkanOperationCases, AreMoreThanAThousand) {
    on_each_device([](Device& device) {
        std::cout << n_cases(device) << " cases\n";
        EXPECT_GE(n_cases(device), 1000u);
    });
}

}  // namespace
}  // namespace lfm::operation_cases
