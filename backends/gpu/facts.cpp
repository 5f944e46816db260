#include "backends/gpu/facts.h"

#include <fstream>

#include "backends/gpu/copy_lane.h"
#include "backends/gpu/health.h"
#include "backends/gpu/platform/free_memory.h"
#include "backends/gpu/submissions.h"
#include "backends/gpu/timelines.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

constexpr int kLeastMajor = 7, kLeastMinor = 5;  // CUDA: the first with the instructions that kernels use
constexpr int kSharedBytes = 48 << 10;

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// " 535.183.01", as NVIDIA's kernel module says; "" where there is none.
std::string driver_release() {
    std::ifstream file("/sys/module/nvidia/version");
    std::string release;
    return api::kNamesCapability && file >> release ? " " + release : "";
}

std::string driver_text() {
    int driver = 0, runtime = 0;
    if (api::driver_version(&driver) != api::kSuccess || api::runtime_version(&runtime) != api::kSuccess) return {};
    return std::string(api::kLanguage) + " driver " + version_text(driver) + ", runtime " + version_text(runtime);
}

/// A driver that is older than what the module was built with is the one reason that a user can mend.
std::string why_no_device(api::Status status) {
    int driver = 0, runtime = 0;
    const bool told = api::driver_version(&driver) == api::kSuccess && api::runtime_version(&runtime) == api::kSuccess;
    if (told && driver > 0 && driver < runtime)
        return "the driver" + driver_release() + " knows " + api::kLanguage + " " + version_text(driver) +
               ", this module needs " + version_text(runtime);
    return std::string("no driver or device (") + api::error_name(status) + ")";
}

std::string why_unusable(const api::Properties& properties) {
    if (api::kNamesCapability &&
        (properties.major < kLeastMajor || (properties.major == kLeastMajor && properties.minor < kLeastMinor)))
        return "expected compute capability 7.5 or later, found " + std::to_string(properties.major) + "." +
               std::to_string(properties.minor);
    if (properties.shared_bytes < kSharedBytes)
        return "expected 48 KiB of shared memory for a group, found " + std::to_string(properties.shared_bytes) +
               " bytes";
    return {};
}

GpuInfo info_of(std::uint32_t index, const api::Properties& properties) {
    return {.index = index,
            .name = properties.name,
            .integrated = properties.integrated != 0,
            .memory = Bytes{properties.memory},
            .context = Bytes{api::kContextBytes} + Timelines::memory_needed() + Submissions::memory_needed() +
                       CopyLane::memory_needed(),
            .ticks_per_second = properties.ticks_per_second,
            .pins_read_only = properties.pins_read_only != 0,
            .driver = driver_text(),
            .why_unusable = why_unusable(properties)};
}

}  // namespace

std::vector<GpuInfo> list_devices(std::string& why_none) {
    int n = 0;
    std::vector<GpuInfo> devices;
    if (const api::Status status = api::count_devices(&n); status != api::kSuccess) {
        api::forget_error();
        why_none = why_no_device(status);
        return devices;
    }
    for (int i = 0; i < n; ++i) {
        api::Properties properties{};
        const api::Status status = api::properties(&properties, i);
        GpuInfo info = info_of(static_cast<std::uint32_t>(i), properties);
        if (const auto left = free_memory_of(i)) info.free = Bytes{*left};
        if (status != api::kSuccess) info.why_unusable = said("its properties", status);
        devices.push_back(std::move(info));
    }
    if (devices.empty()) why_none = "no device";
    return devices;
}

GpuInfo require_device(std::uint32_t index) {
    std::string why_none;
    const std::vector<GpuInfo> devices = list_devices(why_none);
    if (index >= devices.size())
        throw Error(ErrorCode::kUsage, api::kLanguage,
                    devices.empty() ? "expected a device, found " + why_none
                                    : "expected a device below " + std::to_string(devices.size()) + ", found " +
                                          std::to_string(index));
    if (!devices[index].why_unusable.empty())
        throw Error(ErrorCode::kUsage, devices[index].name, devices[index].why_unusable);
    return devices[index];
}

DeviceTraits traits_of(const GpuInfo& info, DeviceId self, ActivationKind activations) {
    api::Properties properties{};
    require_created(api::properties(&properties, static_cast<int>(info.index)), "properties of a device");
    return {.n_processors = static_cast<std::uint32_t>(properties.n_processors),
            .multiplies_tiles = api::multiplies_tiles(properties),
            .self = self,
            .activations = activations};
}

}  // namespace lfm::gpu
