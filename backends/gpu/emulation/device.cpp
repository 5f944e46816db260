#include "backends/gpu/emulation/device.h"

#include <algorithm>

namespace lfm::gpu::emulation {

namespace {

using api::Status;

bool is_refused(std::uint64_t n, std::uint64_t refused, Recurrence recurrence) {
    return refused > 0 && (n == refused || (n > refused && recurrence == Recurrence::kForGood));
}

}  // namespace

EmulatedDevice& EmulatedDevice::of_process() {
    // Never destroyed: streams that nobody destroyed may still run when the process ends.
    static EmulatedDevice* const device = new EmulatedDevice;
    return *device;
}

Status EmulatedDevice::begin_call() {
    const std::lock_guard gate(gate_);
    const std::unique_lock lock(mutex_);
    if (machine_.n_devices == 0) return Status::kNoDevice;
    if (machine_.driver_version < machine_.runtime_version) return Status::kInsufficientDriver;
    if (++counts_.calls == faults_.lose_at_call) lose(faults_.loss);
    return status();
}

bool EmulatedDevice::refuses_capture() {
    const std::lock_guard lock(mutex_);
    return is_refused(++counts_.captures, faults_.refuse_captures_from, Recurrence::kForGood) || !machine_.captures;
}

bool EmulatedDevice::refuses_graph() {
    const std::lock_guard lock(mutex_);
    return is_refused(++counts_.graphs, faults_.refuse_graph, Recurrence::kOnce);
}

void EmulatedDevice::count_waiting(std::size_t n) {
    const std::lock_guard lock(mutex_);
    counts_.most_waiting = std::max<std::uint64_t>(counts_.most_waiting, n);
}

void EmulatedDevice::lose(Status status) {
    Status before = Status::kSuccess;
    status_.compare_exchange_strong(before, status);
    lost_ = true;
}

Status EmulatedDevice::allocate(void** to, std::size_t size, MemoryKind kind) {
    std::size_t most = 0;
    {
        const std::lock_guard lock(mutex_);
        *to = nullptr;
        if (is_refused(++counts_.allocations, faults_.refuse_allocation, faults_.refusal)) return Status::kOutOfMemory;
        most = machine_.memory;
    }
    return memory_.allocate(to, size, kind, most);
}

Status EmulatedDevice::pin(void* memory, std::size_t size) {
    {
        const std::lock_guard lock(mutex_);
        if (is_refused(++counts_.pins, faults_.refuse_pin, faults_.pin_refusal) || !machine_.pins)
            return Status::kNotSupported;
    }
    return memory_.pin(memory, size);
}

void EmulatedDevice::count(Enqueued what) {
    const std::lock_guard lock(mutex_);
    switch (what) {
        case Enqueued::kEarlyLaunch: ++counts_.early_launches; [[fallthrough]];
        case Enqueued::kLaunch: ++counts_.launches; break;
        case Enqueued::kGraph: ++counts_.graph_launches; break;
        case Enqueued::kCopy: ++counts_.copies; break;
    }
}

Machine EmulatedDevice::machine() const {
    const std::lock_guard lock(mutex_);
    return machine_;
}

Counts EmulatedDevice::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

void EmulatedDevice::set_faults(const Faults& faults) {
    const std::lock_guard lock(mutex_);
    faults_ = faults;
}

void EmulatedDevice::reset(const Machine& machine) {
    const std::lock_guard lock(mutex_);
    machine_ = machine;
    faults_ = {};
    counts_ = {};
    status_ = Status::kSuccess;
    lost_ = false;
}

void set_faults(const Faults& faults) { EmulatedDevice::of_process().set_faults(faults); }
Counts counts() { return EmulatedDevice::of_process().counts(); }
void lose_device(Status status) { EmulatedDevice::of_process().lose(status); }

}  // namespace lfm::gpu::emulation
