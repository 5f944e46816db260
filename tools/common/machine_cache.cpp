#include "tools/common/machine_cache.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "planner/machine/machine_json.h"
#include "tools/common/model_options.h"

namespace lfm::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMostBytes = 4u << 20;

/// Nothing, with the reason on the console, when the file holds no profile of this machine.
std::optional<MachineProfile> find_cached(const std::string& path, const ProfileScope& scope, const Console& console) {
    try {
        auto machine = read_cached_machine(path);
        if (!machine) {
            console.note("measuring this machine, once");
            return std::nullopt;
        }
        const std::string differs = difference(identity_of(scope), identity_of(*machine));
        if (differs.empty()) return machine;
        console.note("the profile in " + path + " is of another machine (" + differs + "); measuring this one");
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInvalidInput && error.code() != ErrorCode::kIo) throw;
        console.note("warning: " + std::string(error.what()) + "; measuring again");
    }
    return std::nullopt;
}

bool is_one_of(std::span<const FoundDevice> devices, const FoundDevice& device) {
    return std::ranges::any_of(devices, [&](const FoundDevice& other) {
        return other.backend == device.backend && other.index == device.index;
    });
}

}  // namespace

std::optional<std::string> machine_cache_path(const std::string& file) {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache != nullptr && *cache == '/') return std::string(cache) + "/lfm/" + file;  // others count as unset
    const char* home = std::getenv("HOME");
    if (home != nullptr && *home == '/') return std::string(home) + "/.cache/lfm/" + file;
    return std::nullopt;
}

ProfileScope profile_scope(std::span<const FoundDevice> found, std::span<const FoundDevice> asked) {
    ProfileScope scope;
    for (const FoundDevice& device : found)
        if (device.why_unusable.empty() && !device.emulated) scope.devices.push_back(device);
    const std::size_t n_by_themselves = scope.devices.size();
    for (const FoundDevice& device : asked)
        if (!is_one_of(scope.devices, device)) scope.devices.push_back(device);
    if (scope.devices.size() > n_by_themselves)
        scope.file = std::string("machine-") + backend_text(scope.devices[n_by_themselves].backend) + ".json";
    return scope;
}

MachineIdentity identity_of(const ProfileScope& scope) {
    std::vector<DeviceProfile> descriptions;
    for (const FoundDevice& device : scope.devices) descriptions.push_back(device.description);
    return present_identity(descriptions);
}

ProbedDevices::ProbedDevices(const ProfileScope& scope) {
    for (const FoundDevice& device : scope.devices)
        all_.push_back(owned_.emplace_back(std::make_unique<DeviceProbe>(device)).get());
}

std::optional<MachineProfile> read_cached_machine(const std::string& path) {
    std::error_code failed;
    const fs::file_status status = fs::status(path, failed);
    if (status.type() == fs::file_type::not_found) return std::nullopt;
    if (failed) throw Error(ErrorCode::kIo, path, failed.message());
    // Another kind of file might never end.
    if (!fs::is_regular_file(status)) throw Error(ErrorCode::kIo, path, "expected a file, found something else");
    const std::uintmax_t size = fs::file_size(path, failed);
    if (!failed && size > kMostBytes)
        throw Error(ErrorCode::kInvalidInput, path,
                    "expected at most " + format_bytes(Bytes{kMostBytes}) + ", found " + format_bytes(Bytes{size}));
    const MachinePart part = parse_machine_part(read_text(path), path);
    if (!part.host) throw Error(ErrorCode::kInvalidInput, path, "host: expected one, found none");
    return merge_parts({&part, 1}, nullptr);
}

void store_machine(const std::string& path, const MachineProfile& machine) {
    std::error_code failed;
    const fs::path folder = fs::path(path).parent_path();
    if (!folder.empty()) fs::create_directories(folder, failed);
    if (failed) throw Error(ErrorCode::kIo, folder.string(), failed.message());
    write_file(path, to_json(to_part(machine)));
}

std::string difference(const MachineIdentity& here, const MachineIdentity& there) {
    std::set<std::string> names;
    for (const auto& [name, value] : here.parts) names.insert(name);
    for (const auto& [name, value] : there.parts) names.insert(name);
    const auto part = [](const MachineIdentity& identity, const std::string& name) {
        const auto found = identity.parts.find(name);
        return found == identity.parts.end() ? std::string("none") : found->second;
    };
    std::string text;
    for (const std::string& name : names) {
        const std::string ours = part(here, name), theirs = part(there, name);
        if (ours != theirs) text += (text.empty() ? "" : "; ") + name + ": " + ours + " here, " + theirs + " there";
    }
    return text;
}

bool forget_slow_profile(double bytes_per_second, std::uint32_t n_threads, const Console& console) {
    constexpr double kClearlyFaster = 1.25;  // measurements on a quiet machine differ by less
    const auto path = machine_cache_path();
    if (!path) return false;
    try {
        const auto machine = read_cached_machine(*path);
        if (!machine) return false;
        const auto& figures = machine->host.read_bandwidth;
        const auto figure = std::ranges::find(figures, n_threads, &ThreadFigure::n_threads);
        if (figure == figures.end()) return false;
        const double stored = figure->gb_per_s.value() * 1e9;
        if (bytes_per_second < kClearlyFaster * stored) return false;
        char text[128];
        std::snprintf(text, sizeof text, "memory was read at %.1f GB/s, the stored profile says %.1f",
                      bytes_per_second / 1e9, stored / 1e9);
        std::error_code failed;
        if (!fs::remove(*path, failed)) return false;
        console.note(std::string(text) + ": this machine is measured anew when a profile is needed");
        return true;
    } catch (const Error&) {  // whoever needs the profile says what is wrong with it
        return false;
    }
}

MachineProfile this_machine(const MachineCacheOptions& options) {
    const ProfileScope scope = profile_scope(find_devices(BackendName::kAuto), options.devices);
    const std::optional<std::string> path = machine_cache_path(scope.file);
    if (path) {
        if (const auto machine = find_cached(*path, scope, options.console)) return *machine;
    }
    const ProbedDevices devices(scope);
    const ProbeResult result = probe_machine(options.probe, devices.all());
    for (const std::string& remark : result.remarks) options.console.note(remark);
    try {
        if (!path) throw Error(ErrorCode::kIo, "HOME", "expected an absolute path, found none");
        store_machine(*path, result.machine);
    } catch (const Error& error) {
        options.console.note("warning: the profile could not be stored: " + std::string(error.what()));
    }
    return result.machine;
}

}  // namespace lfm::tools
