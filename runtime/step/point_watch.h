// A thread that waits for points of a device's timeline, so that no worker of the graph has to.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "backends/device.h"

namespace lfm {

class PointWatch {
public:
    /// Called on the watch's thread when a point is reached, or with what the device threw. `who`: as watch was told.
    using Reached = std::function<void(std::uint32_t who, std::exception_ptr failure)>;

    /// `device` outlives the watch.
    PointWatch(Device& device, Reached reached);
    ~PointWatch();
    PointWatch(const PointWatch&) = delete;
    PointWatch& operator=(const PointWatch&) = delete;

    /// Points are watched one after another. Allocates nothing once as many have waited before.
    void watch(Point point, std::uint32_t who);

private:
    struct Item {
        Point point;
        std::uint32_t who = 0;
    };
    void run();

    Device& device_;
    const Reached reached_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Item> ring_;
    std::size_t first_ = 0, n_ = 0;
    bool ended_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace lfm
