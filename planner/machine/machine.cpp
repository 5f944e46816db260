#include "planner/machine/machine.h"

#include <algorithm>

namespace lfm {
namespace {

// How far published and assumed figures have lain from what programs reach, roughly.
constexpr double kLeastMeasured = 0.05;
constexpr double kDatasheet = 0.20;
constexpr double kAssumed = 0.40;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// Whole GiB: what the system counts as installed moves by some MiB from one kernel or driver to the next.
std::string memory_text(Bytes memory) {
    if (memory.value < 4 * kGiB) return format_bytes(memory);
    return std::to_string(memory.value / kGiB + (memory.value % kGiB >= kGiB / 2 ? 1 : 0)) + " GiB";
}

}  // namespace

double Figure::value() const {
    const auto* datasheet = std::get_if<Datasheet>(&basis);
    return datasheet != nullptr ? stated * datasheet->derating : stated;
}

double Figure::uncertainty() const {
    if (const auto* measured = std::get_if<Measured>(&basis)) return std::max(measured->spread, kLeastMeasured);
    return std::holds_alternative<Datasheet>(basis) ? kDatasheet : kAssumed;
}

const Figure* TypeFigures::find(DType type) const {
    if (const auto found = types.find(type); found != types.end()) return &found->second;
    return others ? &*others : nullptr;
}

bool registering_pays(const DeviceProfile& device) {
    return !device.h2d_registered_gb_per_s ||
           device.h2d_registered_gb_per_s->value() >= device.h2d_pageable_gb_per_s.value();
}

MachineIdentity identity_of(const MachineProfile& machine) {
    MachineIdentity identity;
    identity.parts["processor"] = machine.host.name;
    identity.parts["cores"] = std::to_string(machine.host.n_cores);
    identity.parts["threads"] = std::to_string(machine.host.n_threads);
    identity.parts["memory"] = memory_text(machine.host.memory);
    for (std::size_t i = 0; i < machine.devices.size(); ++i) {
        const std::string device = "device " + std::to_string(i);
        identity.parts[device + " name"] = machine.devices[i].name;
        identity.parts[device + " backend"] = machine.devices[i].backend;
        identity.parts[device + " memory"] = memory_text(machine.devices[i].memory);
    }
    return identity;
}

}  // namespace lfm
