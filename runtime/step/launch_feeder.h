// Hands a step's programs over to a device whose driver takes a bounded number of launches: a call beyond that blocks,
// and with it every other call of the process, until the device has done some. The device may be waiting for the host
// meanwhile. So the feeder keeps well below that bound, on a thread of its own: the host's stages and copies begin when
// the first programs do.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "backends/device.h"

namespace lfm {

class LaunchFeeder {
public:
    /// Launches that are handed over and not done, at most: enough to keep a device busy for milliseconds, less than
    /// half of the thousand or so after which drivers block.
    static constexpr std::uint32_t kMostOutstanding = 400;
    /// Launches of one flush. Where a flush is under way the end of one before is a point to wait for.
    static constexpr std::uint32_t kMostInFlush = 100;

    /// Whether the device waits for the points a program needs, or the feeder does before it submits the program.
    enum class Waits : std::uint8_t { kOnDevice, kHere };
    struct Item {
        ProgramId program;
        LatestPoints after{};  // of the host and the copy lane
        Watched watched = Watched::kYes;
        Waits waits = Waits::kOnDevice;
        std::uint32_t launches = 0;  // Device::launches
    };

    /// `device` outlives the feeder.
    explicit LaunchFeeder(Device& device);
    LaunchFeeder(const LaunchFeeder&) = delete;
    LaunchFeeder& operator=(const LaunchFeeder&) = delete;
    ~LaunchFeeder();

    /// Between steps: the programs of the next one, in their order. Allocates nothing once as many were added before.
    void clear() { items_.clear(); }
    void add(const Item& item) { items_.push_back(item); }
    /// Hands them over: at once, where no call can block and nothing has to be waited for here, else on the feeder's
    /// thread. What the device throws is kept for `finish`; the device then counts as lost.
    void start();
    /// Blocks until all is handed over. What went wrong, or null.
    std::exception_ptr finish();

private:
    struct Flushed {
        Point end;
        std::uint32_t launches = 0;
    };
    bool can_block() const;
    void hand_over() noexcept;
    void submit_all();
    void flush();
    void make_room(std::uint32_t launches);
    void run();

    Device& device_;
    std::vector<Item> items_;
    // Of the step that is being handed over.
    std::vector<Flushed> flushed_;  // from the oldest
    std::size_t n_done_ = 0;        // of those
    std::uint32_t outstanding_ = 0, in_flush_ = 0;
    Point last_;
    bool any_submitted_ = false;  // since the last flush
    std::exception_ptr failure_;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool busy_ = false, ended_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace lfm
