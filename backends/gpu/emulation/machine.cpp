#include "backends/gpu/emulation/machine.h"

#include <cstdlib>
#include <sstream>
#include <string>

#include "backends/gpu/emulation/device.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/emulation/stream.h"

namespace lfm::gpu::emulation {

Machine machine_of_environment() {
    Machine machine;
    const char* const text = std::getenv("LFM_EMULATION_MACHINE");
    if (text == nullptr) return machine;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) {
        if (word == "launches-block")
            machine.serialising = Serialising::kLaunchesBlock;
        else if (word == "one-queue")
            machine.serialising = Serialising::kOneQueue;
        else if (word == "no-graphs")
            machine.captures = false;
        else if (word == "no-registration")
            machine.pins = false;
        else if (word == "old-driver")
            machine.driver_version = 12020;
        else if (word == "no-device")
            machine.n_devices = 0;
        else
            report("LFM_EMULATION_MACHINE: expected a word of machine.h, found " + word);
    }
    return machine;
}

void reset_machine(const Machine& machine) {
    EmulatedDevice& device = EmulatedDevice::of_process();
    if (device.lost()) api::Streams::of_process().wait_until_idle();  // until they saw it
    device.reset(machine);
    take_reports();
    set_order(Order::kForward);
}

}  // namespace lfm::gpu::emulation
