// The emulated device: whether it still works, its memory, its faults. One for the process, as the vendor's runtime
// has.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>

#include "backends/gpu/emulation/api.h"
#include "backends/gpu/emulation/faults.h"
#include "backends/gpu/emulation/machine.h"
#include "backends/gpu/emulation/memory_table.h"

namespace lfm::gpu::emulation {

class EmulatedDevice {
public:
    static EmulatedDevice& of_process();

    /// Counts a call of the runtime. When this is not kSuccess, the call returns it and does nothing else. Blocks while
    /// another call waits for room in a stream's queue.
    api::Status begin_call();
    api::Status status() const { return status_.load(std::memory_order_acquire); }
    bool lost() const { return lost_.load(std::memory_order_relaxed); }
    /// Set while the device is lost; kernels that wait look at it.
    const std::atomic<bool>& lost_flag() const { return lost_; }
    /// The first reason stays.
    void lose(api::Status status);

    /// Held by a call while it waits for room in a queue.
    std::mutex& gate() { return gate_; }
    bool refuses_capture();
    bool refuses_graph();
    void count_waiting(std::size_t n);

    api::Status allocate(void** to, std::size_t size, MemoryKind kind);
    api::Status pin(void* memory, std::size_t size);
    MemoryTable& memory() { return memory_; }

    enum class Enqueued { kLaunch, kEarlyLaunch, kGraph, kCopy };
    void count(Enqueued what);
    Machine machine() const;
    Counts counts() const;
    void set_faults(const Faults& faults);
    void reset(const Machine& machine);

private:
    std::mutex gate_;
    mutable std::mutex mutex_;
    Machine machine_ = machine_of_environment();
    Faults faults_;
    Counts counts_;
    MemoryTable memory_;
    std::atomic<api::Status> status_ = api::Status::kSuccess;
    std::atomic<bool> lost_ = false;
};

}  // namespace lfm::gpu::emulation
