// Any GPU with a Vulkan 1.2 driver as a device. The driver's library is loaded at the first call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/device.h"
#include "memory/ledger.h"
#include "memory/units.h"

namespace lfm::vulkan {

enum class GpuKind : std::uint8_t { kDiscrete, kIntegrated, kVirtual, kCpu, kOther };

/// One device of the machine.
struct VulkanInfo {
    std::uint32_t index = 0;  // for VulkanOptions
    std::string name;
    GpuKind kind = GpuKind::kOther;
    Bytes memory;               // its own; on integrated devices what they may take of the host's
    std::optional<Bytes> free;  // how much of it is free now; nothing: the driver does not tell
    Bytes context;              // what opening the device allocates
    std::string driver;         // name and version
    std::string why_unusable;   // what it lacks; empty: usable
};

/// In the driver's order. Empty without a driver or a device.
std::vector<VulkanInfo> list_devices();

/// Checks of the Khronos validation layer, for tests.
enum class Validation : std::uint8_t {
    kNone,
    kCalls,    // every call, and synchronisation
    kShaders,  // every call, and addresses that shaders use; flush then returns only when the work is done, so that
               // nothing may be submitted ahead of the host
};

struct VulkanOptions {
    std::uint32_t index = 0;  // of list_devices()
    DeviceId id{1};           // in the ledger and in expert tables
    Bytes budget;             // for everything that is allocated on the device
    BackendLimits limits;
    ActivationKind activations = ActivationKind::kQuantised;
    bool registers_memory = true;  // where the driver can
    Validation validation = Validation::kNone;
    std::function<void(std::string_view)> report;  // gets the layer's errors and warnings, on any thread
};

/// Throws Error{kUsage} when there is no such device, it lacks something (named), or the validation layer is missing;
/// Error{kShortfall} when the budget is too small for the device's own needs. `ledger` outlives the device.
std::unique_ptr<Device> make_vulkan_device(const VulkanOptions& options, Ledger& ledger);

/// Whether the validation layer is installed.
bool has_validation_layer();

}  // namespace lfm::vulkan
