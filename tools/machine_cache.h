// The measured profile of this machine, kept between runs.
#pragma once

#include <optional>
#include <string>

#include "planner/machine.h"
#include "runtime/probe.h"
#include "tools/console.h"

namespace lfm::tools {

/// $XDG_CACHE_HOME/lfm/machine.json, else ~/.cache/lfm/machine.json; nothing without either variable.
std::optional<std::string> machine_cache_path();

/// The profile stored at `path`; nothing when there is none. Throws Error{kInvalidInput} for a damaged file or one
/// without a host, Error{kIo} when it cannot be read.
std::optional<MachineProfile> read_cached_machine(const std::string& path);

/// Writes the profile, and the folders above it. Throws Error{kIo}.
void store_machine(const std::string& path, const MachineProfile& machine);

/// What tells `found` from `expected`, as in "threads: 2 here, 4 there"; empty: the same machine.
std::string difference(const MachineIdentity& here, const MachineIdentity& there);

struct MachineCacheOptions {
    const Console& console;
    ProbeOptions probe;  // should measuring be needed
    std::span<ProbedDevice* const> devices;
};

/// The cached profile if it is of this machine; else measures and stores. Says on the console why it measures, and
/// when it could not store. Throws what probe_machine throws.
MachineProfile this_machine(const MachineCacheOptions& options);

}  // namespace lfm::tools
