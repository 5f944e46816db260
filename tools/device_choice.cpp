#include "tools/device_choice.h"

#include <algorithm>

#include "runtime/host_memory.h"
#include "runtime/simulation.h"
#include "tools/machine_cache.h"
#include "tools/model_options.h"
#include "tools/profile_files.h"

namespace lfm::tools {
namespace {

constexpr const char* kCannotBeUsed = ") cannot be used: ";

/// "auto" and nothing mean all that is free.
std::optional<Bytes> vram_budget(const DeviceRequest& request, Bytes whole) {
    if (!request.vram_budget || *request.vram_budget == "auto") return std::nullopt;
    return parse_budget(*request.vram_budget, "--vram-budget", whole);
}

bool wants_no_device(const DeviceRequest& request) {
    return request.backend == BackendName::kCpu || vram_budget(request, {1000}) == Bytes{0};
}

/// Null: there is none, and none was asked for by name.
std::optional<FoundDevice> find_device(const DeviceRequest& request, const Console& console) {
    std::vector<FoundDevice> devices = find_devices(request.backend);
    const bool by_name = request.backend != BackendName::kAuto;
    std::erase_if(devices, [&](const FoundDevice& device) {
        return !device.why_unusable.empty() || (device.emulated && !by_name);
    });
    const std::uint32_t index = request.index.value_or(0);
    if (index < devices.size()) return devices[index];
    if ((by_name || request.index) && devices.empty())
        throw Error(ErrorCode::kNoDevice, by_name ? "--backend" : "--device",
                    "expected a device, found none (" + why_no_device(request.backend) + ")");
    if (by_name || request.index)
        throw Error(ErrorCode::kUsage, by_name ? "--backend" : "--device",
                    "expected 0 to " + std::to_string(devices.size() - 1) + ", found " + std::to_string(index));
    if (request.vram_budget && *request.vram_budget != "auto")
        console.note("no GPU found (" + why_no_device(request.backend) + "): everything in RAM, no VRAM is used");
    else if (console.verbosity() == Verbosity::kVerbose)  // what was looked for is looked for again
        console.detail("no GPU found (" + why_no_device(request.backend) + ")");
    return std::nullopt;
}

/// The number of the profile's device that stands for the one found: the same name and backend, else the first.
std::size_t match(const MachineProfile& machine, const FoundDevice& found) {
    const auto same = std::ranges::find_if(machine.devices, [&](const DeviceProfile& device) {
        return device.name == found.description.name && device.backend == found.description.backend;
    });
    return same == machine.devices.end() ? 0 : static_cast<std::size_t>(same - machine.devices.begin());
}

/// The stored profile of this machine with that device; else it is measured now, once.
MachineProfile machine_with(const FoundDevice& found, const DeviceRequest& request, const Console& console) {
    ProbeOptions probe;
    probe.stop = request.stop;
    MachineProfile machine = this_machine({.console = console, .probe = probe, .devices = {found}});
    if (machine.devices.empty())
        throw Error(ErrorCode::kUsage, "--backend", found.description.name + " could not be measured; --profile helps");
    return machine;
}

DeviceChoice choose_simulated(const DeviceRequest& request) {
    if (request.profiles.empty())
        throw Error(ErrorCode::kUsage, "--backend sim", "expected --profile with the device to simulate, found none");
    DeviceChoice choice;
    choice.simulated = true;
    choice.backend = BackendName::kSim;
    choice.machine = load_machine(request.profiles);
    choice.device = request.index.value_or(0);
    if (choice.device >= choice.machine->devices.size())
        throw Error(ErrorCode::kUsage, "--profile",
                    "expected a profile with device " + std::to_string(choice.device) + ", found " +
                        std::to_string(choice.machine->devices.size()) + " devices");
    choice.name = choice.machine->devices[choice.device].name + " (simulated)";
    choice.machine->devices[choice.device].backend = "sim";  // whose memory is planned for
    choice.open = [machine = *choice.machine, device = choice.device](const DeviceOptions& options, Ledger& ledger) {
        return make_simulated({.machine = machine,
                               .device = device,
                               .budget = options.budget,
                               .limits = options.limits,
                               .activations = options.activations},
                              ledger);
    };
    return choice;
}

}  // namespace

po::options_description device_options() {
    po::options_description options("device");
    const auto text = [] { return po::value<std::string>(); };
    options.add_options()("backend", text()->default_value("auto"), "auto, cpu, cuda, hip, vulkan or sim");
    options.add_options()("device", po::value<std::uint32_t>(), "number of the backend's device; default: the first");
    options.add_options()("vram-budget", text(), "at most that much on the device: 8GiB, 80% of free, auto; 0: none");
    options.add_options()("ram-budget", text(), "at most that much in RAM: 24GiB or 80%");
    options.add_options()("profile", po::value<std::vector<std::string>>(),
                          "machine profile to plan with; default: this machine's, measured once");
    options.add_options()("adapt", text()->default_value("on"),
                          "on, off: whether experts may change places while running");
    return options;
}

DeviceRequest device_request(const po::variables_map& values) {
    DeviceRequest request;
    const auto& name = values["backend"].as<std::string>();
    const auto backend = backend_from_name(name);
    if (!backend)
        throw Error(ErrorCode::kUsage, "--backend", "expected auto, cpu, cuda, hip, vulkan or sim, found " + name);
    request.backend = *backend;
    const auto find = [&](const char* option) {
        return values.count(option) > 0 ? std::optional(values[option].as<std::string>()) : std::nullopt;
    };
    if (values.count("device") > 0) request.index = values["device"].as<std::uint32_t>();
    request.vram_budget = find("vram-budget");
    request.ram_budget = find("ram-budget");
    if (values.count("profile") > 0) request.profiles = values["profile"].as<std::vector<std::string>>();
    const auto& adapt = values["adapt"].as<std::string>();
    if (adapt != "on" && adapt != "off")
        throw Error(ErrorCode::kUsage, "--adapt", "expected on or off, found " + adapt);
    request.adaptation = adapt == "on" ? Adaptation::kOn : Adaptation::kOff;
    // Unreadable sizes are told before anything is opened.
    vram_budget(request, {1000});
    if (request.ram_budget) parse_budget(*request.ram_budget, "--ram-budget", installed_memory());
    return request;
}

DeviceChoice choose_device(const DeviceRequest& request, const Console& console) {
    DeviceChoice choice;
    if (request.backend == BackendName::kSim) {
        choice = choose_simulated(request);
    } else if (!wants_no_device(request)) {
        if (const auto found = find_device(request, console)) {
            choice.machine =
                request.profiles.empty() ? machine_with(*found, request, console) : load_machine(request.profiles);
            if (choice.machine->devices.empty())
                throw Error(ErrorCode::kUsage, "--profile", "expected one with a device, found none");
            choice.device = match(*choice.machine, *found);
            // Another card's figures may stand for this one's, but memory is taken as this one's backend does.
            choice.machine->devices[choice.device].backend = found->description.backend;
            // What is free changes from run to run.
            if (found->description.free) choice.machine->devices[choice.device].free = found->description.free;
            choice.backend = found->backend;
            choice.name = found->description.name + " (" + found->description.backend + ")";
            const bool registers = registering_pays(choice.machine->devices[choice.device]);
            choice.open = [found = *found, registers](DeviceOptions options, Ledger& ledger) {
                options.registers_memory = registers;
                return open_device(found, options, ledger);
            };
        }
    }
    if (console.verbosity() == Verbosity::kVerbose)
        for (const std::string& remark : passed_over(request, choice))
            if (choice.open || remark.find(kCannotBeUsed) != std::string::npos) console.detail(remark);
    if (request.ram_budget) choice.ram_budget = parse_budget(*request.ram_budget, "--ram-budget", installed_memory());
    if (!choice.open) return choice;
    const DeviceProfile& device = choice.machine->devices[choice.device];
    choice.vram_budget = vram_budget(request, device.free.value_or(device.memory));
    return choice;
}

std::vector<std::string> passed_over(const DeviceRequest& request, const DeviceChoice& choice) {
    std::vector<std::string> remarks;
    if (request.backend == BackendName::kSim || wants_no_device(request)) return remarks;
    for (const BackendName backend : {BackendName::kCuda, BackendName::kHip, BackendName::kVulkan}) {
        if (request.backend != BackendName::kAuto && request.backend != backend) continue;
        const std::vector<FoundDevice> found = find_devices(backend);
        // What is not built in nobody expects.
        if (std::string why = why_no_device(backend); found.empty() && !why.ends_with(": not built in"))
            remarks.push_back(std::move(why));
        for (const FoundDevice& device : found)
            if (!device.why_unusable.empty())
                remarks.push_back(device.description.name + " (" + backend_text(backend) + kCannotBeUsed +
                                  device.why_unusable);
        if (choice.backend == backend) break;
    }
    return remarks;
}

DeviceMemory memory_of(const DeviceChoice& choice) {
    if (choice.simulated) return DeviceMemory::kSharedWithHost;
    return choice.open ? choice.machine->devices[choice.device].memory_kind : DeviceMemory::kOwn;
}

std::variant<std::monostate, Plan, Planning> planning_for(const DeviceChoice& choice) {
    if (!choice.open) return std::monostate{};
    Planning planning{*choice.machine, {}};
    planning.request.vram_budget = choice.vram_budget;
    planning.request.ram_budget = choice.ram_budget;
    planning.request.device = choice.device;
    return planning;
}

}  // namespace lfm::tools
