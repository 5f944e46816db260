// The measured profile of this machine, kept between runs. Devices that are measured only when asked for by name
// (emulated ones) go into a separate profile beside it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planner/machine/machine.h"
#include "runtime/machine/devices.h"
#include "runtime/probe/device_probe.h"
#include "runtime/probe/probe.h"
#include "tools/common/console.h"

namespace lfm::tools {

/// $XDG_CACHE_HOME/lfm/FILE, else ~/.cache/lfm/FILE; nothing without either variable.
std::optional<std::string> machine_cache_path(const std::string& file = "machine.json");

/// Which devices a profile of this machine has, and the file in the cache that keeps it.
struct ProfileScope {
    std::vector<FoundDevice> devices;
    std::string file = "machine.json";
};

/// Of the devices `found` all that can be used and are not emulated, then those `asked` for by name that are not among
/// them. With such ones the file is "machine-vulkan.json", by the backend of the first.
ProfileScope profile_scope(std::span<const FoundDevice> found, std::span<const FoundDevice> asked);

/// The identity that the scope's profile has. Opens no device.
MachineIdentity identity_of(const ProfileScope& scope);

/// The scope's devices, to be measured; none is opened yet.
class ProbedDevices {
public:
    explicit ProbedDevices(const ProfileScope& scope);
    std::span<ProbedDevice* const> all() const { return all_; }

private:
    std::vector<std::unique_ptr<DeviceProbe>> owned_;
    std::vector<ProbedDevice*> all_;
};

/// The profile stored at `path`; nothing when there is none. Throws Error{kInvalidInput} for a damaged file or one
/// without a host, Error{kIo} when it cannot be read.
std::optional<MachineProfile> read_cached_machine(const std::string& path);

/// Writes the profile, and the folders above it. Throws Error{kIo}.
void store_machine(const std::string& path, const MachineProfile& machine);

/// How `here` and `there` differ, as in "threads: 2 here, 4 there"; empty: the same machine.
std::string difference(const MachineIdentity& here, const MachineIdentity& there);

/// Removes the stored profile of this machine when `n_threads` have read memory clearly faster than it says: it was
/// measured beside other programs, and all predictions would be too low. Notes the removal. Returns whether it removed.
bool forget_slow_profile(double bytes_per_second, std::uint32_t n_threads, const Console& console);

struct MachineCacheOptions {
    const Console& console;
    ProbeOptions probe;                // should measuring be needed
    std::vector<FoundDevice> devices;  // asked for by name; all others that are not emulated are added
};

/// The cached profile if it is of this machine and its devices; else measures and stores. Says on the console why it
/// measures, and when it could not store. Throws what probe_machine throws.
MachineProfile this_machine(const MachineCacheOptions& options);

}  // namespace lfm::tools
