// What a loadable backend module is: one C function that returns this table. Program and modules are built together;
// the version only serves to detect a stale file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/device.h"
#include "memory/ledger.h"
#include "memory/units.h"

namespace lfm::gpu {

/// One device of the machine.
struct GpuInfo {
    std::uint32_t index = 0;  // in the vendor's order
    std::string name;
    bool integrated = false;        // shares the host's memory
    Bytes memory;                   // the device's
    std::optional<Bytes> free;      // of it, that no process holds now; nothing: not known before it is opened
    Bytes context;                  // what opening it takes, before a model is loaded
    double ticks_per_second = 1e9;  // of the device's clock, at most
    bool pins_read_only = false;    // memory that is mapped to be read only can be registered
    std::string driver;             // versions of driver and runtime, for people
    std::string why_unusable;       // what it lacks; empty: usable
};

struct GpuOptions {
    std::uint32_t index = 0;
    DeviceId id{1};  // in the ledger and in expert tables
    Bytes budget;    // for everything on the device, its context included
    BackendLimits limits;
    ActivationKind activations = ActivationKind::kQuantised;
    bool registers_memory = true;  // where the driver can
    /// For how long a kernel waits for the host or for copies before it gives up (Device::stalled). Drivers of displays
    /// reset a device that shows nothing new for two seconds or more.
    double spin_seconds = 1;
    /// Kernels start while the one before still runs, and fetch weights until it has ended (programmatic dependent
    /// launch). Where the device or the module's code cannot, a remark says so. Off by default: no card has been seen
    /// to give the same bits yet.
    bool starts_early = false;
};

struct Module {
    static constexpr std::uint32_t kVersion = 4;
    std::uint32_t version = 0;
    const char* backend = "";  // "cuda", "hip"
    /// In the vendor's order. Without a driver or a device: empty, with the reason.
    std::vector<GpuInfo> (*list_devices)(std::string& why_none) = nullptr;
    /// Throws Error{kUsage} when there is no such device, or it lacks something (named); Error{kShortfall} when the
    /// budget is too small for the device's own needs. `ledger` outlives the device.
    std::unique_ptr<Device> (*open)(const GpuOptions& options, Ledger& ledger) = nullptr;
};

/// Exported by a module under this name.
using ModuleEntry = const Module* (*)();
inline constexpr const char* kModuleEntry = "lfm_gpu_module";

}  // namespace lfm::gpu
