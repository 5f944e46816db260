// Profiles to JSON, and putting parts together.
#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "planner/machine/machine_json.h"
#include "planner/machine/machine_json_keys.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

/// Whole numbers without ".0", as people write them.
Json number(double value) {
    constexpr double kExact = 9007199254740992;  // 2^53
    if (value >= 0 && value < kExact && value == std::floor(value)) return static_cast<std::uint64_t>(value);
    return value;
}

Json to_json(const Figure& figure) {
    if (const auto* measured = std::get_if<Measured>(&figure.basis))
        return {{"median", number(figure.stated)}, {"n", measured->n}, {"spread", number(measured->spread)}};
    if (const auto* datasheet = std::get_if<Datasheet>(&figure.basis))
        return {{"stated", number(figure.stated)},
                {"derating", number(datasheet->derating)},
                {"source", datasheet->source}};
    return {{"assumed", number(figure.stated)}, {"reason", std::get<Assumed>(figure.basis).reason}};
}

Json to_json(const TypeFigures& figures) {
    Json json = Json::object();
    for (const auto& [type, figure] : figures.types) json[std::string(dtype_name(type))] = to_json(figure);
    if (figures.others) json["others"] = to_json(*figures.others);
    return json;
}

Json to_json(const HostProfile& host) {
    Json json{{"name", host.name}};
    if (!host.instruction_set.empty()) json["instruction_set"] = host.instruction_set;
    json["n_cores"] = host.n_cores;
    json["n_threads"] = host.n_threads;
    json["memory_bytes"] = host.memory.value;
    if (host.pinnable) json["pinnable_bytes"] = host.pinnable->value;
    json["read_bandwidth"] = Json::array();
    for (const ThreadFigure& point : host.read_bandwidth)
        json["read_bandwidth"].push_back({{"n_threads", point.n_threads}, {"gb_per_s", to_json(point.gb_per_s)}});
    json["matvec_gb_per_s"] = to_json(host.matvec_gb_per_s);
    json["gemm_gflop_per_s"] = to_json(host.gemm_gflop_per_s);
    json["attention_gb_per_s"] = to_json(host.attention_gb_per_s);
    json["operation_us"] = to_json(host.operation_us);
    return json;
}

Json to_json(const DeviceProfile& device) {
    Json json{{"name", device.name}, {"backend", device.backend}};
    json["memory_kind"] = device.memory_kind == DeviceMemory::kOwn ? kOwnMemory : kSharedMemory;
    json["memory_bytes"] = device.memory.value;
    if (device.free) json["free_bytes"] = device.free->value;
    json["context_bytes"] = device.context.value;
    json["matvec_gb_per_s"] = to_json(device.matvec_gb_per_s);
    json["gemm_gflop_per_s"] = to_json(device.gemm_gflop_per_s);
    for (const auto& [key, member] : kDeviceFigures) json[key] = to_json(device.*member);
    if (device.h2d_registered_gb_per_s) json[kRegisteredKey] = to_json(*device.h2d_registered_gb_per_s);
    return json;
}

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::kUsage, "--profile", message); }

}  // namespace

std::string to_json(const MachinePart& part) {
    Json json{{"format", kFormatName}, {"version", kMachineFormatVersion}, {"name", part.name}};
    if (!part.measured_at.empty()) json["measured_at"] = part.measured_at;
    if (part.host) json["host"] = to_json(*part.host);
    for (const DeviceProfile& device : part.devices) json["devices"].push_back(to_json(device));
    // A driver may report a name that is no UTF-8.
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

MachinePart to_part(const MachineProfile& machine) {
    return {machine.name, machine.measured_at, machine.host, machine.devices};
}

MachineProfile merge_parts(std::span<const MachinePart> parts, const MachinePart* default_host) {
    const MachinePart* host = default_host != nullptr && default_host->host ? default_host : nullptr;
    for (const MachinePart& part : parts)
        if (part.host) host = &part;
    if (host == nullptr) fail("expected a profile with a host, found devices only");

    MachineProfile machine;
    machine.host = *host->host;
    // Measured as a whole only when every part was, and then as old as the oldest.
    const auto sign = [&machine](const MachinePart& part) {
        const bool first = machine.name.empty();
        machine.name += (first ? "" : "+") + part.name;
        machine.measured_at = first ? part.measured_at : std::min(machine.measured_at, part.measured_at);
    };
    for (const MachinePart& part : parts) {
        if (&part == host || !part.devices.empty()) sign(part);
        machine.devices.insert(machine.devices.end(), part.devices.begin(), part.devices.end());
    }
    if (host == default_host) sign(*default_host);
    if (machine.devices.size() > kMaxDevices)
        fail("expected at most " + std::to_string(kMaxDevices) + " devices, found " +
             std::to_string(machine.devices.size()));
    return machine;
}

}  // namespace lfm
