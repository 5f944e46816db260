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
    Start start = Start::kInTurn;
    alignas(16) std::byte push[kMostPush];
    void* to = nullptr;
    const void* from = nullptr;
    std::size_t size = 0;
    api::GraphExec graph = nullptr;
    std::uint64_t order = 0;  // Serialising::kOneQueue: its turn among all streams' work, from 1
};

/// Turns of work that runs in the order of the calls, whatever its stream.
class OneQueue {
public:
    std::uint64_t take_turn();
    /// Blocks until all earlier turns are finished.
    void await_turn(std::uint64_t order);
    void finish(std::uint64_t order);

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t n_taken_ = 0;
    std::set<std::uint64_t> unfinished_;
};

}  // namespace emulation

namespace api {

struct StreamState {
    /// How much work it holds before a call that adds more blocks, and with it every other call: about as many launches
    /// and copies as a driver's queue has room for. A graph counts as one.
    static constexpr std::size_t kMostWaiting = 1000;

    StreamState();
    /// Waits for what is left to do.
    ~StreamState();

    /// During a capture the work is only collected. When the device is lost it is dropped sooner or later. Blocks while
    /// kMostWaiting of them are not done.
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
    std::size_t n_not_done_ = 0;            // of these, and of those it took
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
    /// Null: there is no such stream.
    std::unique_ptr<StreamState> remove(Stream stream);
    bool has(Stream stream);
    bool any();
    void wait_until_idle();
    emulation::OneQueue& one_queue() { return one_queue_; }

private:
    std::mutex mutex_;
    std::set<Stream> all_;
    emulation::OneQueue one_queue_;
};

struct GraphState {
    std::vector<emulation::Work> works;
};

struct GraphExecState {
    std::vector<emulation::Work> works;
    /// Held while the graph runs: once at a time, even from several streams.
    std::mutex running;
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t n_queued = 0;
};

}  // namespace api
}  // namespace lfm::gpu
