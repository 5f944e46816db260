#include "runtime/step/point_watch.h"

#include <algorithm>
#include <utility>

namespace lfm {

PointWatch::PointWatch(Device& device, Reached reached)
    : device_(device), reached_(std::move(reached)), thread_([this] { run(); }) {}

PointWatch::~PointWatch() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void PointWatch::watch(Point point, std::uint32_t who) {
    {
        const std::lock_guard lock(mutex_);
        if (n_ == ring_.size()) {
            std::rotate(ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(first_), ring_.end());
            first_ = 0;
            ring_.resize(std::max<std::size_t>(16, 2 * n_));
        }
        ring_[(first_ + n_++) % ring_.size()] = {point, who};
    }
    changed_.notify_one();
}

void PointWatch::run() {
    for (;;) {
        Item item;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return ended_ || n_ > 0; });
            if (n_ == 0) return;
            item = ring_[first_];
            first_ = (first_ + 1) % ring_.size();
            --n_;
        }
        std::exception_ptr failure;
        try {
            device_.wait(item.point);
        } catch (...) {
            failure = std::current_exception();
        }
        reached_(item.who, failure);
    }
}

}  // namespace lfm
