// The devices on which everything above a device is tested: the simulated one, emulated GPUs, and real ones where there
// are any.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "backends/gpu/loader/gpu_modules.h"
#include "backends/sim/sim_device.h"
#include "runtime/machine/devices.h"

namespace lfm::test {

/// The parameter of such suites. They skip, with the reason, where the device is absent.
struct DeviceKind {
    const char* name;
    std::unique_ptr<Device> (*open)(const DeviceOptions& options, Ledger& ledger);
    std::string (*absence)();  // why there is none; empty: there is one
    bool (*is_slow)();         // emulated: shorter suites unless LFM_FULL is set
    const char* planned_as;    // the backend name that plans use for DeviceNeeds
    double f16_nmse;           // the largest: a whole model of F16 weights against f64
    /// The largest NMSE of the device in any placement against the host alone, with forced routes: for float weights,
    /// and for quantised ones, where one activation that is rounded the other way changes all that follow. The CPU's
    /// own kernels are up to 1.7e-4 apart on such models.
    double float_placement_nmse, quantised_placement_nmse;
    /// The same for any weights, where neither side quantises activations.
    double exact_placement_nmse;
};

inline std::unique_ptr<Device> open_sim(const DeviceOptions& options, Ledger& ledger) {
    return sim::make_sim_device(
        {.budget = options.budget,
         .limits = options.limits,
         .kernels = options.activations == ActivationKind::kFloat ? &cpu::exact_kernels() : nullptr},
        ledger);
}

/// The backend's first device that can be used, emulated or not.
inline std::optional<FoundDevice> usable_device(BackendName backend) {
    for (const FoundDevice& device : find_devices(backend))
        if (device.why_unusable.empty()) return device;
    return std::nullopt;
}
template <BackendName backend>
std::unique_ptr<Device> open_usable(const DeviceOptions& options, Ledger& ledger) {
    return open_device(*usable_device(backend), options, ledger);
}
template <BackendName backend>
std::string absence_of() {
    if (usable_device(backend)) return {};
    std::string why = why_no_device(backend);
    for (const FoundDevice& device : find_devices(backend))
        why += "; " + device.description.name + ": " + device.why_unusable;
    return why;
}

inline std::optional<FoundDevice> vulkan_device() { return usable_device(BackendName::kVulkan); }
inline std::unique_ptr<Device> open_vulkan(const DeviceOptions& options, Ledger& ledger) {
    return open_usable<BackendName::kVulkan>(options, ledger);
}
inline std::string vulkan_absence() { return absence_of<BackendName::kVulkan>(); }
inline bool vulkan_is_slow() { return vulkan_device()->emulated && std::getenv("LFM_FULL") == nullptr; }

/// The GPU backend's kernels on the CPU, with warps of 32 or 64 threads.
inline const gpu::FoundModule& emulated_module(int warp) { return gpu::find_module("emulated" + std::to_string(warp)); }
template <int warp>
std::unique_ptr<Device> open_emulated_gpu(const DeviceOptions& options, Ledger& ledger) {
    return emulated_module(warp).module->open({.budget = options.budget,
                                               .limits = options.limits,
                                               .activations = options.activations,
                                               .starts_early = options.starts_early},
                                              ledger);
}
template <int warp>
std::string emulated_gpu_absence() {
    return emulated_module(warp).why_none;
}
inline bool is_not_full() { return std::getenv("LFM_FULL") == nullptr; }

inline constexpr std::array kDeviceKinds{
    // The host's own arithmetic.
    DeviceKind{"Sim", open_sim, [] { return std::string(); }, [] { return false; }, "sim", 5e-6, 1e-9, 1e-5, 1e-9},
    DeviceKind{"Vulkan", open_vulkan, vulkan_absence, vulkan_is_slow, "sim", 5e-4, 1e-5, 5e-4, 1e-8},
    DeviceKind{"Cuda", open_usable<BackendName::kCuda>, absence_of<BackendName::kCuda>, [] { return false; }, "cuda",
               5e-4, 1e-5, 5e-4, 1e-8},
    DeviceKind{"Hip", open_usable<BackendName::kHip>, absence_of<BackendName::kHip>, [] { return false; }, "hip", 5e-4,
               1e-5, 5e-4, 1e-8},
    DeviceKind{"GpuWarp32", open_emulated_gpu<32>, emulated_gpu_absence<32>, is_not_full, "emulated", 5e-4, 1e-5, 5e-4,
               1e-8},
    DeviceKind{"GpuWarp64", open_emulated_gpu<64>, emulated_gpu_absence<64>, is_not_full, "emulated", 5e-4, 1e-5, 5e-4,
               1e-8},
};

/// The longest suites above the kernels take one warp's width, unless LFM_FULL is set: why they skip; empty: they run.
inline std::string left_to_full(const DeviceKind& kind) {
    return is_not_full() && std::string_view(kind.name) == "GpuWarp64" ? "left to --full: as with warps of 32" : "";
}

inline void PrintTo(const DeviceKind& kind, std::ostream* to) { *to << kind.name; }

/// What opening the device allocates; 0 where there is none.
inline Bytes context_of(const DeviceKind& kind) {
    if (!kind.absence().empty()) return {};
    Ledger ledger;
    return kind.open({.budget = {std::uint64_t{1} << 30}, .limits = {32, 64}}, ledger)->allocated();
}

/// For INSTANTIATE_TEST_SUITE_P.
inline std::string kind_name(const testing::TestParamInfo<DeviceKind>& info) { return info.param.name; }

}  // namespace lfm::test
