#include "runtime/machine/devices.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "backends/gpu/loader/gpu_modules.h"
#include "memory/error.h"
#if LFM_HAVE_VULKAN
#include "backends/vulkan/vulkan_device.h"
#endif

namespace lfm {
namespace {

constexpr std::array<const char*, 8> kNames{"auto", "cpu", "cuda", "hip", "vulkan", "sim", "emulated32", "emulated64"};

/// The backends that list devices. Where the user names none, the first one with a usable card is taken.
constexpr std::array kListing{BackendName::kCuda, BackendName::kHip, BackendName::kVulkan, BackendName::kEmulated32,
                              BackendName::kEmulated64};

bool is_emulation(BackendName backend) {
    return backend == BackendName::kEmulated32 || backend == BackendName::kEmulated64;
}

bool asks_for(BackendName asked, BackendName backend) {
    return asked == backend || (asked == BackendName::kAuto && !is_emulation(backend));
}

struct Listed {
    std::vector<FoundDevice> devices;
    std::string why_none;
};

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

Listed list_vulkan() {
    Listed listed{.why_none = "no driver found"};
    for (const vulkan::VulkanInfo& info : vulkan::list_devices()) listed.devices.push_back(found(info));
    return listed;
}

std::unique_ptr<Device> open_vulkan(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger) {
    return vulkan::make_vulkan_device({.index = device.index,
                                       .budget = options.budget,
                                       .limits = options.limits,
                                       .activations = options.activations,
                                       .registers_memory = options.registers_memory},
                                      ledger);
}

#else

Listed list_vulkan() { return {.why_none = "not built in"}; }
std::unique_ptr<Device> open_vulkan(const FoundDevice&, const DeviceOptions&, Ledger&) { return nullptr; }

#endif

FoundDevice found(const gpu::GpuInfo& info, BackendName backend) {
    FoundDevice device{.backend = backend,
                       .index = info.index,
                       .driver = info.driver,
                       .why_unusable = info.why_unusable,
                       .emulated = is_emulation(backend)};
    device.description.name = info.name;
    device.description.backend = is_emulation(backend) ? "emulated" : backend_text(backend);
    device.description.memory = info.memory;
    device.description.free = info.free;
    device.description.context = info.context;
    device.description.memory_kind = info.integrated ? DeviceMemory::kSharedWithHost : DeviceMemory::kOwn;
    return device;
}

Listed list_module(BackendName backend) {
    const gpu::FoundModule& module = gpu::find_module(backend_text(backend));
    Listed listed{.why_none = module.why_none};
    if (module.module == nullptr) return listed;
    for (const gpu::GpuInfo& info : module.module->list_devices(listed.why_none))
        listed.devices.push_back(found(info, backend));
    return listed;
}

Listed list(BackendName backend) { return backend == BackendName::kVulkan ? list_vulkan() : list_module(backend); }

/// Off unless the environment asks for it, until runs on real cards have shown that the results are the same.
bool asks_for_early_start() {
    const char* const value = std::getenv("LFM_EARLY_START");
    return value != nullptr && std::string_view(value) == "1";
}

std::unique_ptr<Device> open_with_module(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger) {
    const gpu::FoundModule& module = gpu::find_module(backend_text(device.backend));
    if (module.module == nullptr) return nullptr;
    return module.module->open({.index = device.index,
                                .budget = options.budget,
                                .limits = options.limits,
                                .activations = options.activations,
                                .registers_memory = options.registers_memory,
                                .starts_early = options.starts_early || asks_for_early_start()},
                               ledger);
}

/// Drivers of several kinds show the same card. Vulkan's may add its own name: "… (RADV NAVI31)".
bool shows_again(std::span<const FoundDevice> devices, const FoundDevice& device) {
    return std::ranges::any_of(devices, [&](const FoundDevice& other) {
        return other.backend != device.backend && other.why_unusable.empty() &&
               device.description.name.starts_with(other.description.name);
    });
}

}  // namespace

std::optional<BackendName> backend_from_name(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); ++i)
        if (name == kNames[i]) return static_cast<BackendName>(i);
    return std::nullopt;
}

const char* backend_text(BackendName name) { return kNames[static_cast<std::size_t>(name)]; }

std::vector<FoundDevice> find_devices(BackendName asked) {
    std::vector<FoundDevice> devices;
    for (const BackendName backend : kListing) {
        if (!asks_for(asked, backend)) continue;
        for (FoundDevice& device : list(backend).devices)
            if (!shows_again(devices, device)) devices.push_back(std::move(device));
    }
    return devices;
}

std::unique_ptr<Device> open_device(const FoundDevice& device, const DeviceOptions& options, Ledger& ledger) {
    if (!device.why_unusable.empty())
        throw Error(ErrorCode::kUsage, device.description.name, "cannot be used: " + device.why_unusable);
    auto opened = device.backend == BackendName::kVulkan ? open_vulkan(device, options, ledger)
                                                         : open_with_module(device, options, ledger);
    if (!opened) throw Error(ErrorCode::kUsage, "--backend", why_no_device(device.backend));
    return opened;
}

std::string why_no_device(BackendName asked) {
    std::string reasons;
    for (const BackendName backend : kListing)
        if (asks_for(asked, backend))
            reasons +=
                (reasons.empty() ? "" : "; ") + std::string(backend_text(backend)) + ": " + list(backend).why_none;
    return reasons;
}

}  // namespace lfm
