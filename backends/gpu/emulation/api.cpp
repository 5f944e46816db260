#include "backends/gpu/emulation/api.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "backends/gpu/emulation/device.h"
#include "backends/gpu/emulation/group_runner.h"
#include "backends/gpu/emulation/reports.h"
#include "backends/gpu/emulation/stream.h"

namespace lfm::gpu::api {

namespace {

using emulation::EmulatedDevice;
using emulation::GroupRunner;
using emulation::MemoryKind;
using emulation::report;
using emulation::Work;

// Captures under way that this thread of the host began.
thread_local int n_captures = 0;

EmulatedDevice& device() { return EmulatedDevice::of_process(); }

/// Most calls: counted, and refused when the device is lost.
template <typename Function>
Status call(const Function& function) {
    const Status status = device().begin_call();
    return status == Status::kSuccess ? function() : status;
}

/// Calls that may wait for other streams implicitly: not during a capture by the same thread.
template <typename Function>
Status call_outside_capture(const char* name, const Function& function) {
    return call([&] {
        if (n_captures == 0) return function();
        report(std::string(name) + ": expected no capture by this thread, found one");
        return Status::kStreamCaptureUnsupported;
    });
}

Status refuse(Status status, const std::string& text) {
    report(text);
    return status;
}

template <typename Function>
Status call_of_stream(const char* name, Stream stream, const Function& function) {
    return call([&] {
        if (Streams::of_process().has(stream)) return function();
        return refuse(Status::kInvalidValue, std::string(name) + ": expected a stream, found none");
    });
}

Status not_captured(const char* name) {
    return refuse(Status::kStreamCaptureUnsupported, std::string(name) + ": expected no capture, found one");
}

/// Waits for the launch where the machine says that launches block; other calls wait behind it.
void block_if_asked(Stream stream) {
    if (stream->capturing() || device().machine().serialising != emulation::Serialising::kLaunchesBlock) return;
    const std::lock_guard gate(device().gate());
    stream->wait_until_idle();
}

Status check(const Kernel& kernel, const GroupCounts& groups) {
    const std::string name = "launch of " + std::string(kernel.name) + ": expected ";
    constexpr std::uint32_t kMostX = 0x7fffffff, kMostYz = 65535;
    if (kernel.function == nullptr || kernel.call == nullptr)
        return refuse(Status::kInvalidValue, name + "a kernel, found none");
    if (kernel.push_bytes > Work::kMostPush)
        return refuse(Status::kInvalidValue,
                      name + "at most 512 bytes of arguments, found " + std::to_string(kernel.push_bytes));
    if (kernel.n_threads == 0 || kernel.n_threads > GroupRunner::kMostThreads)
        return refuse(Status::kInvalidConfiguration,
                      name + "1 to 1024 threads, found " + std::to_string(kernel.n_threads));
    if (kernel.shared_bytes > static_cast<std::uint32_t>(device().machine().shared_bytes))
        return refuse(Status::kInvalidConfiguration, name + "the device's shared memory at most, found " +
                                                         std::to_string(kernel.shared_bytes) + " bytes");
    const auto within = [](std::uint32_t n, std::uint32_t most) { return n >= 1 && n <= most; };
    if (!within(groups.x, kMostX) || !within(groups.y, kMostYz) || !within(groups.z, kMostYz))
        return refuse(Status::kInvalidConfiguration, name + "1 to 2147483647, 65535, 65535 groups, found " +
                                                         std::to_string(groups.x) + ", " + std::to_string(groups.y) +
                                                         ", " + std::to_string(groups.z));
    return Status::kSuccess;
}

}  // namespace

const char* error_name(Status status) {
    switch (status) {
        case Status::kSuccess: return "Success";
        case Status::kInvalidValue: return "InvalidValue";
        case Status::kOutOfMemory: return "OutOfMemory";
        case Status::kInvalidConfiguration: return "InvalidConfiguration";
        case Status::kInsufficientDriver: return "InsufficientDriver";
        case Status::kNoDevice: return "NoDevice";
        case Status::kInvalidDevice: return "InvalidDevice";
        case Status::kNotReady: return "NotReady";
        case Status::kIllegalAddress: return "IllegalAddress";
        case Status::kHostMemoryAlreadyRegistered: return "HostMemoryAlreadyRegistered";
        case Status::kHostMemoryNotRegistered: return "HostMemoryNotRegistered";
        case Status::kLaunchFailure: return "LaunchFailure";
        case Status::kNotSupported: return "NotSupported";
        case Status::kStreamCaptureUnsupported: return "StreamCaptureUnsupported";
    }
    return "unrecognized error code";
}

void forget_error() {}

Status count_devices(int* n) {
    const emulation::Machine machine = device().machine();
    *n = 0;
    if (machine.driver_version < machine.runtime_version) return Status::kInsufficientDriver;
    *n = machine.n_devices;
    return *n > 0 ? Status::kSuccess : Status::kNoDevice;
}

Status set_device(int index) {
    return index >= 0 && index < device().machine().n_devices ? Status::kSuccess : Status::kInvalidDevice;
}

Status driver_version(int* version) {
    *version = device().machine().driver_version;
    return Status::kSuccess;
}

Status runtime_version(int* version) {
    *version = device().machine().runtime_version;
    return Status::kSuccess;
}

Status properties(Properties* to, int index) {
    const emulation::Machine machine = device().machine();
    if (index < 0 || index >= machine.n_devices) return Status::kInvalidDevice;
    *to = {};
    std::snprintf(to->name, sizeof to->name, "Emulated GPU, warp %u", emulation::kWarp);
    to->memory = machine.memory;
    to->n_processors = machine.n_processors;
    to->shared_bytes = machine.shared_bytes;
    to->major = machine.major;
    to->minor = machine.minor;
    to->integrated = machine.integrated;
    to->ticks_per_second = 1e9;
    to->pins_read_only = machine.pins_read_only;
    return Status::kSuccess;
}

Status memory_info(std::size_t* free, std::size_t* total) {
    return call([&] {
        *total = device().machine().memory;
        const std::size_t taken =
            device().memory().allocated() + (Streams::of_process().any() ? device().machine().context : 0);
        *free = taken < *total ? *total - taken : 0;
        return Status::kSuccess;
    });
}

Status allocate(void** to, std::size_t size) {
    return call_outside_capture("allocate", [&] { return device().allocate(to, size, MemoryKind::kDevice); });
}

Status allocate_pinned(void** to, std::size_t size) {
    return call_outside_capture("allocate_pinned", [&] { return device().allocate(to, size, MemoryKind::kPinned); });
}

// What is given back is gone even when the device is lost: whoever cleans up does not try again.
Status release(void* memory) {
    Streams::of_process().wait_until_idle();  // as drivers do, a lost device's too
    const Status done = device().memory().release(memory, MemoryKind::kDevice);
    return call_outside_capture("release", [&] { return done; });
}

Status release_pinned(void* memory) {
    Streams::of_process().wait_until_idle();
    const Status done = device().memory().release(memory, MemoryKind::kPinned);
    return call_outside_capture("release_pinned", [&] { return done; });
}

Status device_address(void** to, void* pinned) {
    return call([&] {
        if (!device().memory().knows_of_host(pinned)) return Status::kInvalidValue;
        *to = pinned;
        return Status::kSuccess;
    });
}

Status pin(void* memory, std::size_t size, bool read_only) {
    return call_outside_capture("pin", [&] {
        if (read_only && device().machine().pins_read_only == 0) return Status::kNotSupported;
        return device().pin(memory, size);
    });
}

Status unpin(void* memory) {
    const Status done = device().memory().unpin(memory);
    return call_outside_capture("unpin", [&] { return done; });
}

Status create_stream(Stream* stream) {
    return call([&] {
        *stream = Streams::of_process().create();
        return Status::kSuccess;
    });
}

Status destroy_stream(Stream stream) {
    const std::unique_ptr<StreamState> owned = Streams::of_process().remove(stream);
    if (owned && owned->capturing()) {
        const std::unique_ptr<GraphState> unfinished(owned->end_capture());
        --n_captures;
    }
    return call([&] {
        if (owned) return Status::kSuccess;
        return refuse(Status::kInvalidValue, "destroy_stream: expected a stream, found none");
    });
}

Status query_stream(Stream stream) {
    return call_of_stream("query_stream", stream, [&] {
        if (stream->capturing()) return not_captured("query_stream");
        const bool idle = stream->idle();
        return device().lost() ? device().status() : idle ? Status::kSuccess : Status::kNotReady;
    });
}

Status synchronize_stream(Stream stream) {
    // Short: streams of a lost device drop what they have.
    if (device().lost()) Streams::of_process().wait_until_idle();
    return call_of_stream("synchronize_stream", stream, [&] {
        if (stream->capturing()) return not_captured("synchronize_stream");
        stream->wait_until_idle();
        return device().status();
    });
}

Status synchronize_device() {
    return call_outside_capture("synchronize_device", [&] {
        Streams::of_process().wait_until_idle();
        return device().status();
    });
}

Status copy(void* to, const void* from, std::size_t size, Stream stream) {
    return call_of_stream("copy", stream, [&] {
        if (size == 0) return Status::kSuccess;
        const auto of_from = device().memory().problem_of(from, size);
        const auto of_to = device().memory().problem_of(to, size);
        if (of_from) return refuse(Status::kInvalidValue, "copy, its source: " + *of_from);
        if (of_to) return refuse(Status::kInvalidValue, "copy, its target: " + *of_to);
        device().count(EmulatedDevice::Enqueued::kCopy);
        Work work;
        work.kind = Work::Kind::kCopy;
        work.to = to;
        work.from = from;
        work.size = size;
        stream->enqueue(work);
        return Status::kSuccess;
    });
}

// To load a kernel, drivers may wait for the device, and they may refuse it during a capture.
Status load(const Kernel&) {
    return call_outside_capture("load", [] { return Status::kSuccess; });
}

Status groups_at_once(int* n, const Kernel&) {
    return call_outside_capture("groups_at_once", [n] {
        *n = 4;
        return Status::kSuccess;
    });
}

Status launch(const Kernel& kernel, const GroupCounts& groups, const void* push, Stream stream, Start start) {
    return call_of_stream("launch", stream, [&] {
        const Status status = check(kernel, groups);
        if (status != Status::kSuccess) return status;
        device().count(start == Start::kEarly ? EmulatedDevice::Enqueued::kEarlyLaunch
                                              : EmulatedDevice::Enqueued::kLaunch);
        Work work;
        work.kernel = kernel;
        work.groups = groups;
        work.start = start;
        std::memcpy(work.push, push, kernel.push_bytes);
        stream->enqueue(work);
        block_if_asked(stream);
        return Status::kSuccess;
    });
}

Status begin_capture(Stream stream) {
    return call_of_stream("begin_capture", stream, [&] {
        if (stream->capturing()) return not_captured("begin_capture");
        if (device().refuses_capture()) return Status::kNotSupported;
        stream->begin_capture(std::make_unique<GraphState>().release());
        ++n_captures;
        return Status::kSuccess;
    });
}

Status end_capture(Stream stream, Graph* graph) {
    return call_of_stream("end_capture", stream, [&] {
        if (!stream->capturing()) return refuse(Status::kInvalidValue, "end_capture: expected a capture, found none");
        *graph = stream->end_capture();
        --n_captures;
        return Status::kSuccess;
    });
}

Status destroy_graph(Graph graph) {
    const std::unique_ptr<GraphState> owned(graph);
    return call([] { return Status::kSuccess; });
}

Status instantiate(GraphExec* to, Graph graph) {
    return call([&] {
        if (device().refuses_graph()) return Status::kNotSupported;
        auto made = std::make_unique<GraphExecState>();
        made->works = graph->works;
        *to = made.release();
        return Status::kSuccess;
    });
}

Status launch(GraphExec graph, Stream stream) {
    return call_of_stream("launch of a graph", stream, [&] {
        if (stream->capturing()) return not_captured("launch of a graph");
        device().count(EmulatedDevice::Enqueued::kGraph);
        Work work;
        work.kind = Work::Kind::kGraph;
        work.graph = graph;
        stream->enqueue(work);
        block_if_asked(stream);
        return Status::kSuccess;
    });
}

Status destroy(GraphExec graph) {
    const std::unique_ptr<GraphExecState> owned(graph);
    {
        std::unique_lock lock(graph->mutex);
        graph->changed.wait(lock, [&] { return graph->n_queued == 0; });
    }
    return call([] { return Status::kSuccess; });
}

}  // namespace lfm::gpu::api
