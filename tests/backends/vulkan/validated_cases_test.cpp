// The shared operation cases under the validation layer: every call and its synchronisation, then every address that
// the shaders follow.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <tuple>

#include "tests/backends/operation_cases/run_case.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

using vulkan::Validation;
namespace cases = operation_cases;

class ValidatedCases : public ValidatedDevice,
                       public testing::WithParamInterface<std::tuple<std::string, Validation>> {};
INSTANTIATE_TEST_SUITE_P(All, ValidatedCases,
                         testing::Combine(testing::ValuesIn(cases::group_names()),
                                          testing::Values(Validation::kCalls, Validation::kShaders)),
                         [](const auto& at) {
                             return std::get<0>(at.param) +
                                    (std::get<1>(at.param) == Validation::kCalls ? "_calls" : "_shaders");
                         });

/// With checked addresses the driver takes minutes to compile the shaders that unpack weights or caches.
bool is_long(const std::string& group, Validation validation) {
    const bool unpacks = group.starts_with("matmul_") || group == "embed" || group == "route" ||
                         group == "expert_ffn" || group == "attention";
    return unpacks && validation == Validation::kShaders;
}

TEST_P(ValidatedCases, ReportNothing) {
    const auto& [name, validation] = GetParam();
    if (!vulkan::has_validation_layer()) GTEST_SKIP() << "VK_LAYER_KHRONOS_validation is not installed";
    if (is_long(name, validation) && std::getenv("LFM_FULL") == nullptr) GTEST_SKIP() << "only with LFM_FULL=1";
    const auto all = cases::groups();
    const cases::Group& group = cases::group_called(all, name);
    // With checked addresses, three cases of expert_ffn give wrong numbers after a hundred others on the same device,
    // but right ones alone or without checks. So no device runs many cases. The cause is not known; what the driver
    // keeps of large shaders is suspected.
    const std::size_t n_each = validation == Validation::kShaders ? 10 : ~std::size_t{0};
    for (std::size_t first = 0, n = 1; first < n; first += std::min(n_each, n - first)) {
        Ledger ledger;
        auto options = this->options(validation);
        options.limits = cases::kLimits;
        options.budget = {std::uint64_t{1} << 30};
        const auto device = vulkan::make_vulkan_device(options, ledger);
        n = group.n_cases(*device);
        if (n == 0) GTEST_SKIP() << "runs on the CPU by plan: no kernels for this type";
        cases::DevicePlace place(*device);
        cases::Bed bed(*device, place, cases::Bars::gpu(), kSelf);
        group.run(bed, *device, {.first = first, .most = n_each});
    }
}

}  // namespace
}  // namespace lfm::test
