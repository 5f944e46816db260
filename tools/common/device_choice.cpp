#include "tools/common/device_choice.h"

#include <algorithm>

#include "runtime/machine/host_memory.h"
#include "runtime/step/simulation.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/profile_files.h"

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

/// Nothing: there is none, and none was asked for.
std::optional<FoundDevice> find_device(const DeviceRequest& request, const Console& console) {
    if (auto found = pick_device(request.backend, request.index)) return found;
    const std::string none = "no GPU found (" + why_no_device(request.backend) + ")";
    if (request.vram_budget && *request.vram_budget != "auto")
        console.note(none + ": everything in RAM, no VRAM is used");
    else if (!request.profiles.empty() && request.profile_use == ProfileUse::kDevice)
        console.note(none + ": --profile is not needed");
    else
        console.detail(none);
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
    if (choice.machine->devices.empty())
        throw Error(ErrorCode::kUsage, "--profile", "expected one with a device, found none");
    if (choice.device >= choice.machine->devices.size())
        throw Error(ErrorCode::kUsage, "--device", expected_device(choice.machine->devices.size(), choice.device));
    choice.name = choice.machine->devices[choice.device].name + " (simulated)";
    choice.machine->devices[choice.device].backend = "sim";  // plans count the memory that this backend takes
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

/// Options that say something of a device mean nothing where the CPU is to compute alone.
void require_no_device_options(const po::variables_map& values, const DeviceRequest& request) {
    const std::string why = is_given(values, "backend") ? "--backend cpu"
                            : values.count("exact") > 0
                                ? "--exact, which computes on the CPU unless --backend is given"
                                : "--kernels, which computes on the CPU unless --backend is given";
    const auto refuse = [&](const char* option) {
        throw Error(ErrorCode::kUsage, option, "expected none beside " + why);
    };
    if (request.index) refuse("--device");
    if (request.vram_budget && *request.vram_budget != "auto" && vram_budget(request, {1000}) != Bytes{0})
        refuse("--vram-budget");
    if (!request.profiles.empty() && request.profile_use == ProfileUse::kDevice) refuse("--profile");
}

}  // namespace

std::optional<FoundDevice> pick_device(BackendName backend, std::optional<std::uint32_t> index) {
    const bool by_name = backend != BackendName::kAuto;
    const std::vector<FoundDevice> devices = find_devices(backend);
    const auto taken = std::ranges::find_if(devices, [&](const FoundDevice& device) {
        return device.why_unusable.empty() && (by_name || !device.emulated);
    });
    if (taken == devices.end()) {
        if (!by_name && !index) return std::nullopt;
        std::string why = why_no_device(backend);
        for (const FoundDevice& device : devices)
            if (!device.why_unusable.empty()) why += "; " + device.description.name + ": " + device.why_unusable;
        throw Error(ErrorCode::kNoDevice, by_name ? "--backend" : "--device",
                    "expected a device, found none (" + why + ")");
    }
    if (!index) return *taken;
    if (!by_name) return pick_device(taken->backend, index);
    const auto numbered = std::ranges::find(devices, *index, &FoundDevice::index);
    if (numbered == devices.end())
        throw Error(ErrorCode::kUsage, "--device", expected_device(devices.size(), *index) + "; see lfm-probe --list");
    if (!numbered->why_unusable.empty())
        throw Error(ErrorCode::kNoDevice, "--device",
                    numbered->description.name + " cannot be used: " + numbered->why_unusable);
    return *numbered;
}

std::string expected_device(std::size_t n_devices, std::size_t found) {
    const std::string expected = n_devices == 0   ? "no number, as there is no device"
                                 : n_devices == 1 ? "0, as there is one device"
                                                  : "0 to " + std::to_string(n_devices - 1);
    return "expected " + expected + ", found " + std::to_string(found);
}

po::options_description device_options() {
    po::options_description options("device");
    const auto text = [] { return po::value<std::string>(); };
    options.add_options()("backend", text()->default_value("auto"), "auto, cpu, cuda, hip, vulkan or sim");
    options.add_options()("device", text(),
                          "of the backend, from 0, as lfm-probe --list counts; default: the first that can be used");
    options.add_options()("vram-budget", text(), "at most that much on the device: 8GiB, 80% of free, auto; 0: none");
    options.add_options()("ram-budget", text(), "at most that much in RAM: 24GiB or 80%");
    options.add_options()("profile", po::value<std::vector<std::string>>(),
                          "machine profile to plan with; default: this machine's, measured once");
    options.add_options()("adapt", text()->default_value("on"),
                          "on, off: whether experts may change places while running");
    return options;
}

DeviceRequest device_request(const po::variables_map& values, ProfileUse profile_use) {
    DeviceRequest request;
    request.profile_use = profile_use;
    const auto& name = values["backend"].as<std::string>();
    const auto backend = backend_from_name(name);
    if (!backend)
        throw Error(ErrorCode::kUsage, "--backend",
                    "expected auto, cpu, cuda, hip, vulkan or sim, found " + shown(name));
    request.backend = *backend;
    if (const auto index = find_integer(values, "device", kDeviceRange))
        request.index = static_cast<std::uint32_t>(*index);
    request.vram_budget = find_text(values, "vram-budget");
    request.ram_budget = find_text(values, "ram-budget");
    if (values.count("profile") > 0) request.profiles = values["profile"].as<std::vector<std::string>>();
    const auto& adapt = values["adapt"].as<std::string>();
    if (adapt != "on" && adapt != "off")
        throw Error(ErrorCode::kUsage, "--adapt", "expected on or off, found " + shown(adapt));
    request.adaptation = adapt == "on" ? Adaptation::kOn : Adaptation::kOff;
    // Unreadable sizes are reported before anything is opened.
    vram_budget(request, {1000});
    if (request.ram_budget) parse_budget(*request.ram_budget, "--ram-budget", installed_memory());
    // The CPU's own arithmetic: a device takes part beside it only when it is asked for, by name or by a plan.
    const bool own_arithmetic = values.count("exact") + values.count("kernels") > 0 && values.count("plan") == 0;
    if (own_arithmetic && request.backend == BackendName::kAuto) request.backend = BackendName::kCpu;
    if (request.backend == BackendName::kCpu) require_no_device_options(values, request);
    return request;
}

DeviceChoice choose_device(const DeviceRequest& request, const Console& console) {
    DeviceChoice choice;
    if (request.backend == BackendName::kSim) {
        choice = choose_simulated(request);
    } else if (wants_no_device(request)) {
        // A device or profile that is named is not used, but must exist.
        if (request.backend != BackendName::kCpu && (request.backend != BackendName::kAuto || request.index))
            pick_device(request.backend, request.index);
        if (!request.profiles.empty()) load_machine(request.profiles);
        if (!request.profiles.empty() && request.profile_use == ProfileUse::kDevice)
            console.note("no VRAM is used: --profile is not needed");
    } else {
        std::optional<MachineProfile> named;
        if (!request.profiles.empty()) named = load_machine(request.profiles);
        if (const auto found = find_device(request, console)) {
            choice.machine = named ? std::move(named) : machine_with(*found, request, console);
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
        // A backend that is not built in is not expected.
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
