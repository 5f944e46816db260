#include "runtime/devices.h"

#include <array>

#include "memory/error.h"
#if LFM_HAVE_VULKAN
#include "backends/vulkan/vulkan_device.h"
#endif

namespace lfm {
namespace {

constexpr std::array<const char*, 6> kNames{"auto", "cpu", "cuda", "hip", "vulkan", "sim"};

#if LFM_HAVE_VULKAN

FoundDevice found(const vulkan::VulkanInfo& info) {
    FoundDevice device{.backend = BackendName::kVulkan,
                       .index = info.index,
                       .driver = info.driver,
                       .why_unusable = info.why_unusable,
                       .emulated = info.kind == vulkan::GpuKind::kCpu};
    device.description.name = info.name;
    device.description.backend = "vulkan";
    device.description.memory = info.memory;
    device.description.free = info.free;
    device.description.context = info.context;
    // A driver that computes on the CPU shares its memory too, but is there to try what a card would do.
    device.description.memory_kind =
        info.kind == vulkan::GpuKind::kIntegrated ? DeviceMemory::kSharedWithHost : DeviceMemory::kOwn;
    return device;
}

void add_vulkan(std::vector<FoundDevice>& devices) {
    for (const vulkan::VulkanInfo& info : vulkan::list_devices()) devices.push_back(found(info));
}

std::unique_ptr<Device> open_vulkan(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger) {
    return vulkan::make_vulkan_device(
        {.index = device.index, .budget = options.budget, .limits = options.limits, .activations = options.activations},
        ledger);
}

constexpr const char* kVulkanAbsent = "no driver found";

#else

void add_vulkan(std::vector<FoundDevice>&) {}
std::unique_ptr<Device> open_vulkan(const FoundDevice&, const DeviceOptions&, Ledger&) { return nullptr; }
constexpr const char* kVulkanAbsent = "not built in";

#endif

}  // namespace

std::optional<BackendName> backend_from_name(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); ++i)
        if (name == kNames[i]) return static_cast<BackendName>(i);
    return std::nullopt;
}

const char* backend_text(BackendName name) { return kNames[static_cast<std::size_t>(name)]; }

std::vector<FoundDevice> find_devices(BackendName backend) {
    std::vector<FoundDevice> devices;
    if (backend == BackendName::kVulkan || backend == BackendName::kAuto) add_vulkan(devices);
    return devices;
}

std::unique_ptr<Device> open_device(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger) {
    if (!device.why_unusable.empty())
        throw Error(ErrorCode::kUsage, device.description.name, "cannot be used: " + device.why_unusable);
    std::unique_ptr<Device> opened;
    if (device.backend == BackendName::kVulkan) opened = open_vulkan(device, options, ledger);
    if (!opened) throw Error(ErrorCode::kUsage, "--backend", why_no_device(device.backend));
    return opened;
}

std::string why_no_device(BackendName backend) {
    switch (backend) {
        case BackendName::kVulkan: return std::string("vulkan: ") + kVulkanAbsent;
        case BackendName::kCuda: return "cuda: not built in";
        case BackendName::kHip: return "hip: not built in";
        default: return std::string("vulkan: ") + kVulkanAbsent + "; cuda, hip: not built in";
    }
}

}  // namespace lfm
