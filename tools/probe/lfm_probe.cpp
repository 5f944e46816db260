// lfm-probe: measures this machine and writes its profile.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include "planner/machine/machine_json.h"
#include "runtime/machine/threads.h"
#include "tools/common/device_choice.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/stop_signals.h"
#include "tools/probe/report.h"

namespace lfm::tools {
namespace {

constexpr std::string_view kHelp = R"(usage: lfm-probe [--quick|--full] [-o FILE|-] [--backend NAME] [-t N] [-q]

Measures the processor and every GPU: bandwidth, matrix products by weight
type, attention, operations, copies. Writes a profile, and a table to stdout.

      --quick        the weight types in use; within 10 s (default)
      --full         every weight type, more samples; within 3 minutes
  -o, --output FILE  default: $XDG_CACHE_HOME/lfm/machine.json, else
                     ~/.cache/lfm/machine.json, where the other tools look;
                     - prints the profile to stdout instead of the table
      --list         what devices there are, and why others are not; measures
                     nothing. With --backend: 1 where it has none to use
      --backend NAME   a device by name (vulkan), also one that is emulated:
      --device N       the first, or number N, as --list has it. Emulated ones
                       go into machine-vulkan.json beside machine.json
  -t, --threads N    default: one per core
  -q, --quiet        nothing on stderr but errors
  -h, --help, --version

Best on an idle machine. It says when figures moved while they were taken.
)";

po::options_description probe_options() {
    po::options_description options;
    options.add_options()("help,h", "")("version", "")("quick", "")("full", "")("quiet,q", "")("list", "");
    options.add_options()("output,o", po::value<std::string>())("threads,t", po::value<std::string>());
    options.add_options()("backend", po::value<std::string>())("device", po::value<std::string>());
    return options;
}

/// Progress on stderr: a line for each step, or on a terminal one line with the percentage.
class Progress {
public:
    explicit Progress(const Console& console)
        : console_(console), line_(console, "measuring this machine"), terminal_(::isatty(STDERR_FILENO) != 0) {}

    void update(std::string_view step, double share_done) {
        if (!terminal_ && step != step_) console_.note(step);
        step_ = step;
        line_.update(share_done);
    }

private:
    const Console& console_;
    ProgressLine line_;
    bool terminal_;
    std::string step_;
};

/// The device that --backend and --device name; empty: only what is measured anyway.
std::vector<FoundDevice> asked_devices(const po::variables_map& values) {
    if (values.count("backend") == 0) {
        if (values.count("device") > 0)
            throw Error(ErrorCode::kUsage, "--device", "expected --backend beside it, found none");
        return {};
    }
    const auto& name = values["backend"].as<std::string>();
    const auto backend = backend_from_name(name);
    if (!backend || backend == BackendName::kSim || backend == BackendName::kCpu)
        throw Error(ErrorCode::kUsage, "--backend",
                    "expected auto, cuda, hip or vulkan (the processor is always measured), found " + shown(name));
    const auto index = find_integer(values, "device", kDeviceRange);
    if (backend == BackendName::kAuto && !index) return {};
    return {*pick_device(*backend, index ? std::optional(static_cast<std::uint32_t>(*index)) : std::nullopt)};
}

/// Appends lines: "cuda 0: NVIDIA H200, 140 GiB, 139 GiB free, driver 13.0", "hip: none (not built in)". Returns
/// whether any device can be used.
bool list_devices_of(BackendName backend, std::string& text) {
    const std::string name = backend_text(backend);
    const std::vector<FoundDevice> found = find_devices(backend);
    if (found.empty()) {
        const std::string why = why_no_device(backend);
        text += name + ": none (" + why.substr(why.find(": ") + 2) + ")\n";
    }
    bool usable = false;
    for (const FoundDevice& device : found) {
        text += name + " " + std::to_string(device.index) + ": " + device.description.name;
        if (!device.why_unusable.empty()) {
            text += ", cannot be used: " + device.why_unusable + "\n";
            continue;
        }
        usable = true;
        text += ", " + format_bytes(device.description.memory);
        if (device.description.free) text += ", " + format_bytes(*device.description.free) + " free";
        if (!device.driver.empty()) text += ", " + device.driver;
        text += device.emulated ? ", emulated\n" : "\n";
    }
    return usable;
}

int list_devices(const po::variables_map& values) {
    const auto backend =
        values.count("backend") > 0 ? backend_from_name(values["backend"].as<std::string>()) : BackendName::kAuto;
    if (!backend || *backend == BackendName::kSim || *backend == BackendName::kCpu)
        throw Error(ErrorCode::kUsage, "--backend",
                    "expected auto, cuda, hip or vulkan, found " + shown(values["backend"].as<std::string>()));
    std::string text;
    bool usable = true;
    if (*backend == BackendName::kAuto)
        for (const BackendName each : {BackendName::kCuda, BackendName::kHip, BackendName::kVulkan})
            list_devices_of(each, text);
    else
        usable = list_devices_of(*backend, text);
    write_stdout(text);
    if (!usable) throw Error(ErrorCode::kNoDevice, "--backend", "expected a device that can be used, found none");
    return 0;
}

/// Notes which devices the profile does not have, and why.
void name_others(std::span<const FoundDevice> found, const ProfileScope& scope, const Console& console) {
    // A backend that is not built in is not expected.
    for (const BackendName backend : {BackendName::kCuda, BackendName::kHip, BackendName::kVulkan})
        if (const std::string why = why_no_device(backend);
            find_devices(backend).empty() && !why.ends_with(": not built in"))
            console.note("not measured: " + why);
    for (const FoundDevice& device : found) {
        const std::string& name = device.description.name;
        if (!device.why_unusable.empty())
            console.note("not measured: " + name + " cannot be used: " + device.why_unusable);
        else if (device.emulated && scope.file == ProfileScope{}.file)
            console.note("not measured: " + name + " is emulated; --backend " + backend_text(device.backend) +
                         " asks for it");
    }
}

ProbeResult measure(const ProbeOptions& options, const ProfileScope& scope, const Console& console) {
    Progress progress(console);
    ProbeOptions told = options;
    told.progress = [&](std::string_view step, double share_done) { progress.update(step, share_done); };
    const ProbedDevices devices(scope);
    return probe_machine(told, devices.all());
}

/// The profile of the same machine that `path` holds so far. A damaged file counts as none: it is about to be replaced.
std::optional<MachineProfile> earlier_profile(const std::string& path, const MachineProfile& machine) {
    try {
        auto earlier = read_cached_machine(path);
        if (earlier && identity_of(*earlier) == identity_of(machine)) return earlier;
    } catch (const Error&) {
    }
    return std::nullopt;
}

int probe(const ProbeOptions& options, const std::vector<FoundDevice>& asked, const std::optional<std::string>& output,
          const Console& console) {
    const bool to_stdout = output == "-";
    const std::vector<FoundDevice> found = find_devices(BackendName::kAuto);
    const ProfileScope scope = profile_scope(found, asked);
    const std::optional<std::string> path = output ? output : machine_cache_path(scope.file);
    if (!path) throw Error(ErrorCode::kUsage, "HOME", "expected an absolute path, found none; -o names a file");
    if (!output) {
        std::error_code failed;
        std::filesystem::create_directories(std::filesystem::path(*path).parent_path(), failed);
        if (failed) throw Error(ErrorCode::kIo, *path, failed.message());
    }
    std::optional<OutputFile> file;
    if (!to_stdout) file.emplace(*path);
    const ProbeResult result = measure(options, scope, console);
    name_others(found, scope, console);
    for (const std::string& remark : result.remarks) console.note(remark);
    if (to_stdout) return write_stdout(to_json(to_part(result.machine))), 0;
    if (const auto earlier = earlier_profile(*path, result.machine)) {
        const std::string remark = comparison(*earlier, result.machine);
        if (!remark.empty()) console.note(remark);
    }
    file->write(to_json(to_part(result.machine)));
    file->keep();
    write_stdout(probe_table(result.machine));
    console.note("written to " + *path);
    if (!output && result.machine.host.n_threads != default_thread_count())
        console.note("warning: the cached profile is for -t " + std::to_string(result.machine.host.n_threads) +
                     "; tools with another number of threads will measure again (-o keeps a profile elsewhere)");
    return 0;
}

int run(const std::vector<std::string>& arguments) {
    const auto values = parse_options(arguments, probe_options());
    if (values.count("help") > 0) return write_stdout(kHelp), 0;
    if (values.count("version") > 0) return write_stdout(version_text("lfm-probe") + "\n"), 0;
    if (values.count("quick") + values.count("full") > 1)
        throw Error(ErrorCode::kUsage, "options", "expected --quick or --full, found both");
    if (values.count("list") > 0) {
        for (const char* option : {"quick", "full", "output", "threads", "device"})
            if (values.count(option) > 0)
                throw Error(ErrorCode::kUsage, std::string("--") + option, "expected none beside --list");
        return list_devices(values);
    }
    ProbeOptions options;
    options.effort = values.count("full") > 0 ? ProbeEffort::kFull : ProbeEffort::kQuick;
    options.stop = &stop_flag();
    if (const auto n_threads = find_integer(values, "threads", kThreadRange))
        options.n_threads = static_cast<std::uint32_t>(*n_threads);
    std::optional<std::string> output;
    if (values.count("output") > 0) output = values["output"].as<std::string>();
    const Console console("lfm-probe", values.count("quiet") > 0 ? Verbosity::kQuiet : Verbosity::kNormal);
    install_stop_signals();
    try {
        return probe(options, asked_devices(values), output, console);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        return stop_exit_code();
    }
}

}  // namespace
}  // namespace lfm::tools

int main(int argc, char** argv) {
    return lfm::tools::run_tool("lfm-probe", [&] { return lfm::tools::run({argv + 1, argv + argc}); });
}
