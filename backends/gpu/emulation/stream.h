// Work that a stream carries out in order, on an operating-system thread of its own.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "backends/gpu/emulation/device.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

namespace emulation {

class GroupRunner;

struct Work {
    static constexpr std::size_t kMostPush = 512;
    enum class Kind : std::uint8_t { kLaunch, kCopy, kGraph };

    Kind kind = Kind::kLaunch;
    Kernel kernel;
    GroupCounts groups;
    alignas(16) std::byte push[kMostPush];
    void* to = nullptr;
    const void* from = nullptr;
    std::size_t size = 0;
    api::GraphExec graph = nullptr;
};

}  // namespace emulation

namespace api {

struct StreamState {
    StreamState();
    /// Waits for what is left to do.
    ~StreamState();

    /// Collected instead, during a capture. When the device is lost it is dropped sooner or later.
    void enqueue(const emulation::Work& work);
    void wait_until_idle();
    bool idle();

    // Called by one thread at a time.
    bool capturing() const { return captured_ != nullptr; }
    void begin_capture(Graph into) { captured_ = into; }
    Graph end_capture();

private:
    void work_off();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<emulation::Work> waiting_;  // taken by the thread all at once
    enum class State : std::uint8_t { kIdle, kBusy } state_ = State::kIdle;
    bool ending_ = false;
    Graph captured_ = nullptr;
    std::thread thread_;  // last: uses the others
};

/// All streams there are.
class Streams {
public:
    static Streams& of_process();
    Stream create();
    /// Nothing: there is no such stream.
    std::unique_ptr<StreamState> remove(Stream stream);
    bool has(Stream stream);
    void wait_until_idle();

private:
    std::mutex mutex_;
    std::set<Stream> all_;
};

struct GraphState {
    std::vector<emulation::Work> works;
};

struct GraphExecState {
    std::vector<emulation::Work> works;
    /// Of them one at a time, even from several streams.
    std::mutex running;
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t n_queued = 0;
};

}  // namespace api
}  // namespace lfm::gpu
