#include "backends/sim/virtual_time.h"

#include <algorithm>

#include "memory/error.h"

namespace lfm::sim {
namespace {

std::size_t index_of(Timeline timeline) { return static_cast<std::size_t>(timeline); }

bool is_host(Timeline timeline) { return timeline == Timeline::kHostSignals; }

}  // namespace

VirtualTime::Range VirtualTime::keep(std::span<const Point> waits) {
    const std::size_t begin = waits_.size();
    waits_.insert(waits_.end(), waits.begin(), waits.end());
    return {begin, waits_.size()};
}

void VirtualTime::add_batch(ProgramId program, std::span<const Point> waits) {
    batches_.push_back({program, keep(waits), {}});
}

void VirtualTime::add_copy(double seconds, std::span<const Point> waits) {
    copies_.push_back({.waits = keep(waits), .seconds = seconds});
}

void VirtualTime::batch_ran(std::span<const TimedOperation> operations) {
    const std::size_t begin = operations_.size();
    operations_.insert(operations_.end(), operations.begin(), operations.end());
    batches_[n_ran_++].operations = {begin, operations_.size()};
}

/// Kept in the order of the host's points, whoever reports first.
void VirtualTime::add_host_work(const TimedHostWork& work) {
    const auto later =
        std::ranges::upper_bound(host_, work.done.value, {}, [](const Host& h) { return h.work.done.value; });
    host_.insert(later, {work, 0});
}

void VirtualTime::let_pass(std::uint64_t copy_point) {
    const std::uint64_t before = before_[index_of(Timeline::kCopy)];
    for (std::size_t i = 0; i < copies_.size() && before + i < copy_point; ++i) {
        copies_[i].start = copies_[i].end = 0;
        copies_[i].begun = true;
    }
}

/// Nothing while it is not known.
std::optional<double> VirtualTime::reached_at(Point point) const {
    const std::uint64_t before = before_[index_of(point.timeline)];
    if (point.value <= before) return 0.0;
    const std::uint64_t index = point.value - before - 1;
    switch (point.timeline) {
        case Timeline::kCompute:
            if (index < next_batch_) return batches_[index].end;
            return std::nullopt;
        case Timeline::kCopy:
            if (index < next_copy_) return copies_[index].end;
            return std::nullopt;
        case Timeline::kHostSignals: break;
    }
    if (point.value > reached_[index_of(Timeline::kHostSignals)]) return std::nullopt;
    // Of points that nobody reported, each is reached with the one before.
    const auto later =
        std::ranges::upper_bound(host_, point.value, {}, [](const Host& h) { return h.work.done.value; });
    const auto n = static_cast<std::size_t>(later - host_.begin());
    if (n > next_host_) return std::nullopt;
    return n > 0 ? host_[n - 1].end : 0.0;
}

std::optional<double> VirtualTime::start_on(Timeline lane, double lane_free, std::span<const Point> waits) const {
    double start = lane_free;
    for (const Point& point : waits) {
        const std::optional<double> reached = reached_at(point);
        if (!reached) return std::nullopt;
        const bool crosses =
            is_host(lane) != is_host(point.timeline) && point.value > before_[index_of(point.timeline)];
        start = std::max(start, *reached + (crosses ? crossing_seconds_ : 0.0));
    }
    return start;
}

bool VirtualTime::schedule_batch() {
    if (next_batch_ == batches_.size()) return false;
    Batch& batch = batches_[next_batch_];
    const double lane_free = next_batch_ > 0 ? batches_[next_batch_ - 1].end : crossing_seconds_;
    const auto start = start_on(Timeline::kCompute, lane_free, waits_in(batch.waits));
    if (!start) return false;
    batch.end = *start;
    for (std::size_t i = batch.operations.begin; i < batch.operations.end; ++i) {
        const double begin = batch.end;
        batch.end += operations_[i].seconds;
        events_.push_back({Timeline::kCompute, operations_[i].name, batch.program.value, begin, batch.end});
    }
    ++next_batch_;
    return true;
}

bool VirtualTime::schedule_copy() {
    if (next_copy_ == copies_.size()) return false;
    Copy& copy = copies_[next_copy_];
    if (!copy.begun) {
        const double lane_free = next_copy_ > 0 ? copies_[next_copy_ - 1].end : 0.0;
        const auto start = start_on(Timeline::kCopy, lane_free, waits_in(copy.waits));
        if (!start) return false;
        copy.start = *start;
        copy.end = *start + copy.seconds;
        copy.begun = true;
    }
    ++next_copy_;
    return true;
}

bool VirtualTime::schedule_host() {
    if (next_host_ == host_.size()) return false;
    Host& host = host_[next_host_];
    const double lane_free = next_host_ > 0 ? host_[next_host_ - 1].end : 0.0;
    const auto start = start_on(Timeline::kHostSignals, lane_free, std::span(&host.work.after, 1));
    if (!start) return false;
    host.end = *start + host.work.seconds;
    events_.push_back({Timeline::kHostSignals, host.work.name, 0, *start, host.end});
    ++next_host_;
    return true;
}

/// A copy's event ends with the step at the latest; the rest of it is the next step's.
void VirtualTime::carry_copies_over() {
    std::size_t through = 0;
    carried_waits_.clear();
    for (Copy& copy : copies_) {
        if (!copy.begun) {  // waits for something to come
            const auto waits = waits_in(copy.waits);
            copy.waits = {carried_waits_.size(), carried_waits_.size() + waits.size()};
            carried_waits_.insert(carried_waits_.end(), waits.begin(), waits.end());
            continue;
        }
        if (copy.end > copy.start && copy.start < times_.total)
            events_.push_back({Timeline::kCopy, "copy", 0, copy.start, std::min(copy.end, times_.total)});
        copy.waits = {};
        if (copy.end <= times_.total) {
            ++through;
            continue;
        }
        copy.start = std::max(0.0, copy.start - times_.total);
        copy.end -= times_.total;
    }
    copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(through));
    before_[index_of(Timeline::kCopy)] += through;
    waits_.swap(carried_waits_);
}

void VirtualTime::start_next(const TimelineValues& reached) {
    carry_copies_over();
    before_[index_of(Timeline::kCompute)] = reached[index_of(Timeline::kCompute)];
    before_[index_of(Timeline::kHostSignals)] = reached[index_of(Timeline::kHostSignals)];
    operations_.clear();
    batches_.clear();
    host_.clear();
    n_ran_ = next_batch_ = next_copy_ = next_host_ = 0;
}

void VirtualTime::finish(const TimelineValues& reached) {
    reached_ = reached;
    events_.clear();
    while (schedule_batch() || schedule_copy() || schedule_host()) {
    }
    times_ = {};
    for (const Host& host : host_) {
        times_.host += host.work.seconds;
        if (host.work.beside_device) times_.experts += host.work.seconds;
    }
    if (next_batch_ > 0) times_.total = batches_[next_batch_ - 1].end + crossing_seconds_;
    if (next_host_ > 0) times_.total = std::max(times_.total, host_[next_host_ - 1].end);
    const bool all = next_batch_ == batches_.size() && next_host_ == host_.size();
    start_next(reached);
    if (!all)
        throw Error(ErrorCode::kInvalidInput, "virtual time",
                    "expected host work that begins after points of this step, found work that waits for itself");
}

}  // namespace lfm::sim
