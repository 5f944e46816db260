// Which device a model runs on, and what is planned for it: the options that lfm-run, lfm-eval and lfm-bench share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runtime/machine/devices.h"
#include "runtime/session/placed.h"
#include "tools/common/command_line.h"
#include "tools/common/console.h"

namespace lfm::tools {

/// What --profile is used for: planning for a device alone, or also predicting the CPU's speed.
enum class ProfileUse { kDevice, kDeviceAndCpu };

struct DeviceRequest {
    BackendName backend = BackendName::kAuto;
    std::optional<std::uint32_t> index;      // --device, from 0
    std::optional<std::string> vram_budget;  // "8GiB", "80%", "auto"; nothing: auto
    std::optional<std::string> ram_budget;
    std::vector<std::string> profiles;  // --profile
    ProfileUse profile_use = ProfileUse::kDevice;
    Adaptation adaptation = Adaptation::kOn;
    const std::atomic<bool>* stop = nullptr;  // ends measuring, should that be needed
};

/// --backend, --device, --vram-budget, --ram-budget, --profile, --adapt.
po::options_description device_options();

/// --exact and --kernels ask for the CPU's own arithmetic: a device is used beside them only when its backend is asked
/// for by name, or by --plan. Throws Error{kUsage}, also for options that would be ignored: a device's beside the CPU.
DeviceRequest device_request(const po::variables_map& values, ProfileUse profile_use = ProfileUse::kDevice);

/// The device that `lfm-probe --list` shows as "BACKEND INDEX"; without an index the first that can be used; of kAuto,
/// by the first backend that has one. Nothing when there is none and none was asked for. Throws Error{kUsage} for a
/// number that no device has, Error{kNoDevice} for one that cannot be used or a named backend that has none.
std::optional<FoundDevice> pick_device(BackendName backend, std::optional<std::uint32_t> index);

/// "expected 0 to 1, found 2": of --device.
std::string expected_device(std::size_t n_devices, std::size_t found);

struct DeviceChoice {
    /// Empty: the host alone.
    std::function<std::unique_ptr<Device>(const DeviceOptions& options, Ledger& ledger)> open;
    std::string name;  // of the device, with its backend; empty: none
    BackendName backend = BackendName::kCpu;
    std::optional<MachineProfile> machine;  // to plan with; always there with a device
    std::size_t device = 0;                 // of machine->devices
    std::optional<Bytes> vram_budget, ram_budget;
    bool simulated = false;
};

/// Finds the device that is asked for, and the machine's profile when one is needed: --profile, else the stored one,
/// else it is measured now. Throws like pick_device, and Error{kUsage} for a profile without a device.
DeviceChoice choose_device(const DeviceRequest& request, const Console& console);

/// What would have been taken before that device, had its driver let it: "cuda: the driver is too old (…)"; "NAME
/// cannot be used: …". Looks for devices anew.
std::vector<std::string> passed_over(const DeviceRequest& request, const DeviceChoice& choice);

/// Whether the device has memory of its own; a simulated one takes the host's.
DeviceMemory memory_of(const DeviceChoice& choice);

/// The `plan` of a PlaceRequest; the request's sizes are the session's.
std::variant<std::monostate, Plan, Planning> planning_for(const DeviceChoice& choice);

}  // namespace lfm::tools
