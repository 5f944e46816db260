// Profiles from JSON.
#include "memory/error.h"
#include "planner/json/json_node.h"
#include "planner/machine/machine_json.h"
#include "planner/machine/machine_json_keys.h"

namespace lfm {
namespace {

constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 50;
constexpr std::uint64_t kMaxCores = 1u << 16;
constexpr double kMaxSpread = 1000;

Figure read_figure(const JsonNode& node) {
    constexpr std::string_view kForms =
        "a figure: {median, n, spread}, {stated, derating, source} or {assumed, reason}";
    node.require_object(kForms);
    const int n_forms = int{node["median"].exists()} + int{node["stated"].exists()} + int{node["assumed"].exists()};
    if (n_forms != 1) node.fail(kForms, n_forms == 0 ? "none of them" : "several at once");
    const auto number = [&](std::string_view key) { return node[key].number(kLeastFigure, kMostFigure); };
    if (node["median"].exists()) {
        node.require_known_keys({"median", "n", "spread"});
        const auto n = static_cast<std::uint32_t>(node["n"].whole(1, 1u << 30));
        return {number("median"), Measured{n, node["spread"].number(0, kMaxSpread)}};
    }
    if (node["stated"].exists()) {
        node.require_known_keys({"stated", "derating", "source"});
        return {number("stated"), Datasheet{node["source"].text(), node["derating"].number(kLeastFigure, 1)}};
    }
    node.require_known_keys({"assumed", "reason"});
    return {number("assumed"), Assumed{node["reason"].text()}};
}

TypeFigures read_type_figures(const JsonNode& node) {
    constexpr std::string_view kExpected = "figures by weight type";
    node.require_object(kExpected);
    if (node.json().empty()) node.fail(kExpected, "none");
    TypeFigures figures;
    for (const auto& [key, value] : node.json().items()) {
        const JsonNode entry = node[key];
        const auto type = dtype_from_name(key);
        if (key == "others")
            figures.others = read_figure(entry);
        else if (type && dtype_name(*type) == key)  // "q4_0" beside "Q4_0" would be a second entry
            figures.types[*type] = read_figure(entry);
        else
            entry.fail("the name of a weight type, as in Q4_0, or others", "another name");
    }
    return figures;
}

Bytes read_bytes(const JsonNode& node, std::uint64_t least, std::uint64_t most) { return {node.whole(least, most)}; }

std::vector<ThreadFigure> read_bandwidth(const JsonNode& node) {
    node.require_array("1 to 1024 bandwidths by number of threads", 1, 1024);
    std::vector<ThreadFigure> points;
    for (std::size_t i = 0; i < node.json().size(); ++i) {
        const JsonNode entry = node[i];
        entry.require_object("n_threads and gb_per_s");
        entry.require_known_keys({"n_threads", "gb_per_s"});
        const std::uint64_t least = points.empty() ? 1 : points.back().n_threads + 1;  // rising
        const auto n_threads = static_cast<std::uint32_t>(entry["n_threads"].whole(least, kMaxCores));
        points.push_back({n_threads, read_figure(entry["gb_per_s"])});
    }
    return points;
}

HostProfile read_host(const JsonNode& node) {
    node.require_object("a host");
    node.require_known_keys({"name", "instruction_set", "n_cores", "n_threads", "memory_bytes", "pinnable_bytes",
                             "read_bandwidth", "matvec_gb_per_s", "gemm_gflop_per_s", "attention_gb_per_s",
                             "operation_us"});
    HostProfile host;
    host.name = node["name"].text();
    if (node["instruction_set"].exists())
        host.instruction_set = node["instruction_set"].one_of({"portable", "avx2", "avx512", "neon"});
    host.n_cores = static_cast<std::uint32_t>(node["n_cores"].whole(1, kMaxCores));
    host.n_threads = static_cast<std::uint32_t>(node["n_threads"].whole(1, kMaxCores));
    host.memory = read_bytes(node["memory_bytes"], 1, kMaxMemory);
    if (node["pinnable_bytes"].exists()) host.pinnable = read_bytes(node["pinnable_bytes"], 0, host.memory.value);
    host.read_bandwidth = read_bandwidth(node["read_bandwidth"]);
    host.matvec_gb_per_s = read_type_figures(node["matvec_gb_per_s"]);
    host.gemm_gflop_per_s = read_type_figures(node["gemm_gflop_per_s"]);
    host.attention_gb_per_s = read_figure(node["attention_gb_per_s"]);
    host.operation_us = read_figure(node["operation_us"]);
    return host;
}

DeviceProfile read_device(const JsonNode& node) {
    node.require_object("a device");
    std::vector<std::string_view> keys{"name",        "backend",       "memory_kind",     "memory_bytes",
                                       "free_bytes",  "context_bytes", "matvec_gb_per_s", "gemm_gflop_per_s",
                                       kRegisteredKey};
    for (const DeviceFigure& figure : kDeviceFigures) keys.push_back(figure.key);
    node.require_known_keys(keys);
    DeviceProfile device;
    device.name = node["name"].text();
    device.backend = node["backend"].one_of({"cuda", "hip", "vulkan", "sim", "emulated"});
    device.memory_kind = node["memory_kind"].one_of({kOwnMemory, kSharedMemory}) == kOwnMemory
                             ? DeviceMemory::kOwn
                             : DeviceMemory::kSharedWithHost;
    device.memory = read_bytes(node["memory_bytes"], 1, kMaxMemory);
    if (node["free_bytes"].exists()) device.free = read_bytes(node["free_bytes"], 0, device.memory.value);
    device.context = read_bytes(node["context_bytes"], 0, device.memory.value);
    device.matvec_gb_per_s = read_type_figures(node["matvec_gb_per_s"]);
    device.gemm_gflop_per_s = read_type_figures(node["gemm_gflop_per_s"]);
    for (const auto& [key, member] : kDeviceFigures) device.*member = read_figure(node[key]);
    if (node[kRegisteredKey].exists()) device.h2d_registered_gb_per_s = read_figure(node[kRegisteredKey]);
    return device;
}

/// "2026-11-22T14:15:00Z", as the programs write it.
std::string read_time(const JsonNode& node) {
    std::string text = node.text();
    constexpr std::string_view kForm = "0000-00-00T00:00:00Z";
    bool right = text.size() == kForm.size();
    for (std::size_t i = 0; right && i < kForm.size(); ++i)
        right = kForm[i] == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == kForm[i];
    if (!right) node.fail("a time such as 2026-11-22T14:15:00Z");
    return text;
}

}  // namespace

MachinePart parse_machine_part(std::string_view text, std::string_view source) {
    const auto json = parse_profile_json(text, source);
    const JsonNode root(json, source);
    root.require_object("a machine profile");
    // Before the rest: of another version nothing else can be said.
    root["format"].one_of({kFormatName});
    const JsonNode version = root["version"];
    if (version.whole(1, ~std::uint32_t{0}) != kMachineFormatVersion)
        version.fail("version " + std::to_string(kMachineFormatVersion) + ", the one this program reads");
    root.require_known_keys({"format", "version", "name", "measured_at", "host", "devices"});
    MachinePart part;
    part.name = root["name"].text();
    if (root["measured_at"].exists()) part.measured_at = read_time(root["measured_at"]);
    if (root["host"].exists()) part.host = read_host(root["host"]);
    if (const JsonNode devices = root["devices"]; devices.exists()) {
        devices.require_array("1 to " + std::to_string(kMaxDevices) + " devices", 1, kMaxDevices);
        for (std::size_t i = 0; i < devices.json().size(); ++i) part.devices.push_back(read_device(devices[i]));
    }
    if (!part.host && part.devices.empty()) root.fail("a host, devices or both", "neither");
    return part;
}

}  // namespace lfm
