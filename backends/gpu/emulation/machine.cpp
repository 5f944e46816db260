#include "backends/gpu/emulation/machine.h"

#include "backends/gpu/emulation/device.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/emulation/stream.h"

namespace lfm::gpu::emulation {

void reset_machine(const Machine& machine) {
    EmulatedDevice& device = EmulatedDevice::of_process();
    if (device.lost()) api::Streams::of_process().wait_until_idle();  // until they saw it
    device.reset(machine);
    take_reports();
    set_order(Order::kForward);
}

}  // namespace lfm::gpu::emulation
