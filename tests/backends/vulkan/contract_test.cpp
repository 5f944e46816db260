// The contract of devices on a Vulkan driver, watched by the validation layer.
#include "tests/backends/device_contract.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

std::optional<vulkan::VulkanInfo> first_usable() {
    for (const vulkan::VulkanInfo& info : vulkan::list_devices())
        if (info.why_unusable.empty()) return info;
    return std::nullopt;
}

std::unique_ptr<Device> open(Ledger& ledger) {
    const bool validates = vulkan::has_validation_layer();
    return vulkan::make_vulkan_device({.index = first_usable()->index,
                                       .budget = kContractBudget,
                                       .limits = kContractLimits,
                                       .validation = validates ? vulkan::Validation::kCalls : vulkan::Validation::kNone,
                                       .report =
                                           [](std::string_view message) {
                                               if (!is_the_layers_own(message)) ADD_FAILURE() << message;
                                           }},
                                      ledger);
}

INSTANTIATE_TEST_SUITE_P(Vulkan, DeviceContract,
                         testing::Values(ContractDevice{
                             open, [] { return std::string(first_usable() ? "" : "no usable device"); }}));

}  // namespace
}  // namespace lfm::test
