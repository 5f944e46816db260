#include "runtime/probe/probe.h"

#include <algorithm>
#include <ctime>

#include "memory/error.h"
#include "runtime/machine/host_memory.h"
#include "runtime/machine/processor_load.h"
#include "runtime/machine/threads.h"
#include "runtime/probe/probe_parts.h"

namespace lfm {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::uint32_t kMostThreads = 1024;
constexpr Seconds kQuickTime{8}, kFullTime{120};
constexpr double kOverrun = 1.15;  // of the time, for a slow machine: 9.2 s
constexpr std::size_t kQuickMemory = std::size_t{512} << 20, kFullMemory = std::size_t{1} << 30;
constexpr std::size_t kLeastMemory = std::size_t{16} << 20;

std::size_t memory_for(const ProbeOptions& options) {
    if (options.memory) return std::max<std::size_t>(options.memory->value, kLeastMemory);
    const std::size_t wanted = options.effort == ProbeEffort::kQuick ? kQuickMemory : kFullMemory;
    const std::uint64_t available = available_memory().value;
    if (available == 0) return wanted;
    return std::max<std::size_t>(std::min<std::uint64_t>(wanted, available / 4), kLeastMemory);
}

/// "AMD EPYC, 2 cores, 23.4 GiB" and the devices' names.
std::string machine_name(const MachineProfile& machine) {
    std::string name = machine.host.name + ", " + std::to_string(machine.host.n_cores) + " cores, " +
                       format_bytes(machine.host.memory);
    for (const DeviceProfile& device : machine.devices) name += ", " + device.name;
    return name;
}

/// The time of all parts, one after the other, each with an equal share.
class Schedule {
public:
    Schedule(const ProbeOptions& options, std::size_t n_parts)
        : options_(options),
          time_(options.time.value_or(options.effort == ProbeEffort::kQuick ? kQuickTime : kFullTime)),
          n_parts_(n_parts),
          begin_(ProbeClock::now()) {}

    ProbeShare next(std::string_view name) {
        const std::size_t part = next_part_++;
        const Seconds until = time_ * static_cast<double>(next_part_) / static_cast<double>(n_parts_);
        ProbeShare share{.effort = options_.effort, .memory = memory_for(options_)};
        share.time.end = begin_ + std::chrono::duration_cast<ProbeClock::duration>(until);
        share.time.last_end = begin_ + std::chrono::duration_cast<ProbeClock::duration>(until * kOverrun);
        share.time.stop = options_.stop;
        share.progress = [this, part, label = std::string(name)](std::string_view step, double done) {
            if (!options_.progress) return;
            // Filling takes about a tenth of the time.
            const double within = step == "measuring" ? 0.1 + 0.9 * done : 0.1 * done;
            const double whole = (static_cast<double>(part) + within) / static_cast<double>(n_parts_);
            options_.progress(label + ": " + std::string(step), std::min(whole, 1.0));
        };
        return share;
    }

private:
    const ProbeOptions& options_;
    Seconds time_;
    std::size_t n_parts_;
    ProbeClock::time_point begin_;
    std::size_t next_part_ = 0;
};

}  // namespace

ProbeResult probe_machine(const ProbeOptions& options, std::span<ProbedDevice* const> devices) {
    const std::uint32_t n_threads = options.n_threads > 0 ? options.n_threads : default_thread_count();
    if (n_threads > kMostThreads)
        throw Error(ErrorCode::kUsage, "--threads",
                    "expected 1 to " + std::to_string(kMostThreads) + ", found " + std::to_string(n_threads));
    Schedule schedule(options, 1 + devices.size());
    const ProcessorTimes before = processor_times();
    ProbeResult result;
    result.machine.host = describe_host(n_threads);
    ProbeShare share = schedule.next("processor");
    share.n_threads = n_threads;
    result.remarks = probe_host(share, result.machine.host);
    for (ProbedDevice* device : devices) {
        DeviceProfile profile;
        try {
            profile = device->description();
            share = schedule.next(profile.name);
            share.n_threads = n_threads;
            std::ranges::move(probe_device(share, *device, profile), std::back_inserter(result.remarks));
            result.machine.devices.push_back(profile);
            if (const Device* opened = device->device())
                for (const std::string& remark : opened->remarks())
                    result.remarks.push_back(profile.name + ": " + remark);
        } catch (const Error& error) {
            if (error.code() == ErrorCode::kInterrupted) throw;
            const std::string why = error.what();
            const bool is_named = why.find(profile.name) != std::string::npos;
            result.remarks.push_back("left out: " + (is_named ? why : profile.name + ": " + why));
        }
    }
    const std::string load = load_remark(before, processor_times());
    if (!load.empty()) result.remarks.insert(result.remarks.begin(), load);
    result.machine.name = machine_name(result.machine);
    result.machine.measured_at = utc_now();
    return result;
}

MachineIdentity present_identity(std::span<ProbedDevice* const> devices) {
    std::vector<DeviceProfile> descriptions;
    for (ProbedDevice* device : devices) descriptions.push_back(device->description());
    return present_identity(descriptions);
}

MachineIdentity present_identity(std::span<const DeviceProfile> devices) {
    MachineProfile machine;
    machine.host = describe_host(default_thread_count());
    machine.devices.assign(devices.begin(), devices.end());
    return identity_of(machine);
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

}  // namespace lfm
