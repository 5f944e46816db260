// Machine profiles as JSON (schema: profiles/machine.schema.json), and putting parts together.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "planner/machine/machine.h"

namespace lfm {

inline constexpr int kMachineFormatVersion = 1;

/// A profile, or a part of one: a host alone, devices alone.
struct MachinePart {
    std::string name;
    std::string measured_at;  // empty: from datasheets
    std::optional<HostProfile> host;
    std::vector<DeviceProfile> devices;
    bool operator==(const MachinePart&) const = default;
};

/// `source` (a file's name) begins every message. Checks everything: types, ranges, finite positive figures, units in
/// key names, unknown keys. Throws Error{kInvalidInput} naming the path of the key
/// ("host.read_bandwidth[2].n_threads"), expected and found; for another version, which one this program reads.
MachinePart parse_machine_part(std::string_view text, std::string_view source);

/// Keys in a fixed order, two spaces of indentation; parse_machine_part gives the same value back.
std::string to_json(const MachinePart& part);
MachinePart to_part(const MachineProfile& machine);

/// Devices add up in order; of several hosts the last counts. Without any host, `default_host` does. Throws
/// Error{kUsage} when there is none either.
MachineProfile merge_parts(std::span<const MachinePart> parts, const MachinePart* default_host);

}  // namespace lfm
