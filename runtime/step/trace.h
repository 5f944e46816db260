// What ran when: events of several lanes, written as a Chrome trace that Perfetto (ui.perfetto.dev) opens.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace lfm {

/// One line of the picture, as "compute" or "copy".
struct TraceLane {
    std::uint32_t number = 0;
};

/// A text that events refer to.
struct TraceName {
    std::uint32_t number = ~0u;  // ~0: none
};

struct TraceNumber {
    TraceName name;  // none: no number
    double value = 0;
};

struct TraceEvent {
    TraceLane lane;
    TraceName name;
    double start = 0, end = 0;  // seconds of any one clock; a lane's events follow or contain each other
    std::array<TraceNumber, 3> numbers{};
};

/// Room is made once: recording allocates nothing, and what finds no room is counted. Any threads may record at the
/// same time; lanes and names are made before.
class Trace {
public:
    /// `process`: what the picture is of.
    Trace(std::string_view process, std::size_t most_events);

    /// Shown in the order they were made.
    TraceLane add_lane(std::string_view name);
    /// The same text has the same name.
    TraceName name(std::string_view text);

    /// Dropped when there is no room, when a time is beyond 10^12 s, and for a lane or name that was never made. An end
    /// before the start counts as the start.
    void record(const TraceEvent& event);

    std::size_t n_events() const;
    std::size_t n_dropped() const;
    /// Forgets the events, not lanes and names.
    void clear();

    /// Times count from the earliest event. Numbers that are not finite are left out.
    std::string json() const;

private:
    bool sound(const TraceEvent& event) const;

    std::string process_;
    std::vector<std::string> lanes_, names_;
    mutable std::mutex mutex_;  // guards what follows
    std::vector<TraceEvent> events_;
    std::size_t most_events_;
    std::size_t n_dropped_ = 0;
};

}  // namespace lfm
