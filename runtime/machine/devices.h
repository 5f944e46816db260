// The devices of this machine that models can run on, whatever their backend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/device.h"
#include "planner/machine/machine.h"

namespace lfm {

/// The last two emulate GPU kernels on the CPU, with warps of 32 and 64 threads. They exist only where tests are built,
/// and are used only when asked for by name.
enum class BackendName : std::uint8_t { kAuto, kCpu, kCuda, kHip, kVulkan, kSim, kEmulated32, kEmulated64 };

/// "auto", "cpu", "cuda", "hip", "vulkan", "sim", "emulated32", "emulated64".
std::optional<BackendName> backend_from_name(std::string_view name);
const char* backend_text(BackendName name);

struct FoundDevice {
    BackendName backend = BackendName::kAuto;
    std::uint32_t index = 0;  // among its backend's devices
    /// Name, backend, kind of memory, memory, free memory where the driver tells it, context; no measured figures.
    DeviceProfile description;
    std::string driver;
    std::string why_unusable;  // empty: usable
    bool emulated = false;     // computes on the CPU: used only when asked for by name
};

/// The devices of one backend, or of all but the two emulations (kAuto); a card that several drivers show appears once.
/// Empty for kCpu and kSim, and where there is no driver.
std::vector<FoundDevice> find_devices(BackendName backend);

struct DeviceOptions {
    Bytes budget;
    BackendLimits limits;
    ActivationKind activations = ActivationKind::kQuantised;
    bool registers_memory = true;  // where the driver can
    bool starts_early = false;     // as gpu::GpuOptions::starts_early; CUDA alone
};

/// Throws Error{kUsage} for a device that cannot be used (named), Error{kShortfall} when the budget does not hold the
/// driver's own needs. `ledger` outlives the device.
std::unique_ptr<Device> open_device(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger);

/// Why a backend has no device here, for an error: "cuda: no driver or device (…); hip: not built in; …".
std::string why_no_device(BackendName backend);

}  // namespace lfm
