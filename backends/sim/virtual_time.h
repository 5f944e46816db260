// The times of a step, computed from the record of what was done: exact, whatever the real threads did.
//
// Three lanes (compute, copy, host) run their items in order; an item begins when its lane is free and its waits are
// reached. A wait that crosses between host and device is reached half a handshake later, as a profile's handshake is
// the way there and back. The first program, which the host has to start, begins half a handshake after the step, and
// the host learns half a handshake late that the last one has ended: a step costs one handshake, and one more for each
// layer whose host part is not hidden.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backends/virtual_clock.h"

namespace lfm::sim {

/// HostWork with the time it takes.
struct TimedHostWork {
    Point after, done;
    double seconds = 0;
    const char* name = "";
    bool beside_device = false;
};

struct TimedOperation {
    const char* name = "";
    double seconds = 0;
};

/// The last point of each timeline, in the order of Timeline.
using TimelineValues = std::array<std::uint64_t, kTimelines>;

class VirtualTime {
public:
    explicit VirtualTime(double handshake_seconds) : crossing_seconds_(handshake_seconds / 2) {}

    /// In the order of their points. Once warm, nothing here allocates.
    void add_batch(ProgramId program, std::span<const Point> waits);
    void add_copy(double seconds, std::span<const Point> waits);
    /// What the next batch, in the order they were added, did.
    void batch_ran(std::span<const TimedOperation> operations);
    void add_host_work(const TimedHostWork& work);

    /// Between steps time passes until that point of the copy lane: the copies are through when the next step begins.
    void let_pass(std::uint64_t copy_point);
    /// Whether batches or host work were added since the last finish.
    bool has_work() const { return !batches_.empty() || !host_.empty(); }

    /// All batches have run. `reached`: the points reached by then. The next step starts at 0; copies that are not
    /// through go on in it: with what is left of them, or, if they wait for something that is still to come, as they
    /// are. Throws Error{kInvalidInput} when host work and batches wait for each other; the record is empty then, too.
    void finish(const TimelineValues& reached);
    VirtualTimes times() const { return times_; }
    std::span<const VirtualEvent> events() const { return events_; }

private:
    struct Range {
        std::size_t begin = 0, end = 0;
    };
    struct Batch {
        ProgramId program;
        Range waits, operations;
        double end = 0;
    };
    struct Copy {
        Range waits;
        double seconds = 0;
        double start = 0, end = 0;
        bool begun = false;  // in an earlier step: start and end are known
    };
    struct Host {
        TimedHostWork work;
        double end = 0;
    };
    Range keep(std::span<const Point> waits);
    std::optional<double> reached_at(Point point) const;
    std::optional<double> start_on(Timeline lane, double lane_free, std::span<const Point> waits) const;
    std::span<const Point> waits_in(Range range) const {
        return std::span(waits_).subspan(range.begin, range.end - range.begin);
    }
    bool schedule_batch();
    bool schedule_copy();
    bool schedule_host();
    void carry_copies_over();
    void start_next(const TimelineValues& reached);

    double crossing_seconds_;
    TimelineValues before_{};   // reached when the step began; of copies: in virtual time
    TimelineValues reached_{};  // when it ended
    std::vector<Point> waits_;
    std::vector<TimedOperation> operations_;
    std::vector<Batch> batches_;
    std::vector<Copy> copies_;
    std::vector<Host> host_;
    std::size_t n_ran_ = 0;
    std::size_t next_batch_ = 0, next_copy_ = 0, next_host_ = 0;  // to be scheduled
    std::vector<Point> carried_waits_;
    VirtualTimes times_;
    std::vector<VirtualEvent> events_;
};

}  // namespace lfm::sim
