// The three timelines of a device: what is enqueued, what is reached.
#pragma once

#include <algorithm>
#include <span>

#include "backends/sim/virtual_time.h"

namespace lfm::sim {

/// Not thread-safe.
class Points {
public:
    Point last(Timeline timeline) const { return {timeline, enqueued_[index_of(timeline)]}; }
    Point enqueue(Timeline timeline) { return {timeline, ++enqueued_[index_of(timeline)]}; }
    void reach_next(Timeline timeline) { ++reached_[index_of(timeline)]; }

    bool is_reached(Point point) const { return reached_[index_of(point.timeline)] >= point.value; }
    bool are_reached(std::span<const Point> points) const {
        return std::ranges::all_of(points, [&](Point point) { return is_reached(point); });
    }
    const TimelineValues& reached() const { return reached_; }

private:
    static std::size_t index_of(Timeline timeline) { return static_cast<std::size_t>(timeline); }

    TimelineValues enqueued_{}, reached_{};
};

}  // namespace lfm::sim
