// A thread that waits for points of a device's timeline, so that no worker of the graph has to.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "backends/device.h"

namespace lfm {

class PointWatch {
public:
    /// `device` outlives the watch.
    explicit PointWatch(Device& device);
    ~PointWatch();
    PointWatch(const PointWatch&) = delete;
    PointWatch& operator=(const PointWatch&) = delete;

    /// Told on the watch's thread when the point is reached, or with what the device threw.
    using Reached = std::function<void(std::exception_ptr failure)>;
    /// Points are watched one after another. Allocates nothing once as many have waited before.
    void watch(Point point, Reached reached);

private:
    struct Item {
        Point point;
        Reached reached;
    };
    void run();

    Device& device_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Item> ring_;
    std::size_t first_ = 0, n_ = 0;
    bool ended_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace lfm
