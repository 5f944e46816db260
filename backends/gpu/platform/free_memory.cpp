#include "backends/gpu/platform/free_memory.h"

#include "backends/gpu/platform/api.h"

#if defined(LFM_GPU_CUDA)
#include <dlfcn.h>

#include <memory>
#elif defined(LFM_GPU_HIP)
#include <algorithm>
#include <fstream>
#include <string>
#endif

namespace lfm::gpu {

#if defined(LFM_GPU_CUDA)

namespace {

/// As in NVML's nvml.h: of nvmlDeviceGetMemoryInfo, in bytes.
struct NvmlMemory {
    unsigned long long total = 0, free = 0, used = 0;
};

template <typename Function>
Function* find(void* library, const char* name) {
    return reinterpret_cast<Function*>(dlsym(library, name));
}

struct Close {
    void operator()(void* library) const { dlclose(library); }
};

}  // namespace

std::optional<std::uint64_t> free_memory_of(int index) {
    char bus[32];
    if (cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess) return std::nullopt;
    const std::unique_ptr<void, Close> nvml(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL));
    if (!nvml) return std::nullopt;
    auto* const init = find<int()>(nvml.get(), "nvmlInit_v2");
    auto* const shutdown = find<int()>(nvml.get(), "nvmlShutdown");
    auto* const device_at = find<int(const char*, void**)>(nvml.get(), "nvmlDeviceGetHandleByPciBusId_v2");
    auto* const memory_of = find<int(void*, NvmlMemory*)>(nvml.get(), "nvmlDeviceGetMemoryInfo");
    if (init == nullptr || shutdown == nullptr || device_at == nullptr || memory_of == nullptr || init() != 0)
        return std::nullopt;
    void* device = nullptr;
    NvmlMemory memory;
    const bool told = device_at(bus, &device) == 0 && memory_of(device, &memory) == 0;
    shutdown();
    return told ? std::optional<std::uint64_t>(memory.free) : std::nullopt;
}

#elif defined(LFM_GPU_HIP)

std::optional<std::uint64_t> free_memory_of(int index) {
    char bus[32];
    if (hipDeviceGetPCIBusId(bus, sizeof bus, index) != hipSuccess) return std::nullopt;
    // Of Linux' amdgpu driver.
    const std::string folder = "/sys/bus/pci/devices/" + std::string(bus) + "/mem_info_vram_";
    std::uint64_t total = 0, used = 0;
    if (!(std::ifstream(folder + "total") >> total) || !(std::ifstream(folder + "used") >> used)) return std::nullopt;
    return total - std::min(total, used);
}

#else

std::optional<std::uint64_t> free_memory_of(int) {
    std::size_t free = 0, total = 0;
    if (api::memory_info(&free, &total) != api::kSuccess) return std::nullopt;
    return free;
}

#endif

}  // namespace lfm::gpu
