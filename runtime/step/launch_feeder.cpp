#include "runtime/step/launch_feeder.h"

#include <algorithm>
#include <array>

namespace lfm {

LaunchFeeder::LaunchFeeder(Device& device) : device_(device), thread_([this] { run(); }) {}

LaunchFeeder::~LaunchFeeder() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

bool LaunchFeeder::can_block() const {
    std::uint32_t launches = 0;
    for (const Item& item : items_) {
        if (item.waits == Waits::kHere) return true;
        launches += item.launches;
    }
    return launches > kMostInFlush;
}

void LaunchFeeder::start() {
    failure_ = nullptr;
    if (!can_block()) return hand_over();  // to wake a thread costs more than a short step's calls
    {
        const std::lock_guard lock(mutex_);
        busy_ = true;
    }
    changed_.notify_all();
}

std::exception_ptr LaunchFeeder::finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !busy_; });
    return failure_;
}

void LaunchFeeder::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ended_ || busy_; });
        if (!busy_) return;
        lock.unlock();
        hand_over();
        lock.lock();
        busy_ = false;
        changed_.notify_all();
    }
}

void LaunchFeeder::hand_over() noexcept {
    try {
        submit_all();
    } catch (...) {
        failure_ = std::current_exception();
    }
}

void LaunchFeeder::submit_all() {
    flushed_.clear();
    n_done_ = 0;
    outstanding_ = in_flush_ = 0;
    any_submitted_ = false;
    for (const Item& item : items_) {
        std::array<Point, 2> waits;
        std::size_t n_waits = 0;
        for (const Timeline timeline : {Timeline::kHostSignals, Timeline::kCopy})
            if (const std::uint64_t value = item.after[static_cast<std::size_t>(timeline)]; value > 0)
                waits[n_waits++] = {timeline, value};
        if (item.waits == Waits::kHere && n_waits > 0) {
            flush();  // what the host waits for, before it reaches what this waits for
            for (const Point& wait : std::span(waits).first(n_waits)) device_.wait(wait);
            n_waits = 0;
        }
        if (in_flush_ + item.launches > kMostInFlush) flush();
        make_room(item.launches);
        last_ = device_.submit(item.program, std::span(waits).first(n_waits), item.watched);
        any_submitted_ = true;
        in_flush_ += item.launches;
    }
    flush();
}

void LaunchFeeder::flush() {
    if (!any_submitted_) return;
    device_.flush();
    flushed_.push_back({last_, in_flush_});
    outstanding_ += in_flush_;
    in_flush_ = 0;
    any_submitted_ = false;
}

void LaunchFeeder::make_room(std::uint32_t launches) {
    while (n_done_ < flushed_.size() && outstanding_ + in_flush_ + launches > kMostOutstanding) {
        const Flushed& oldest = flushed_[n_done_++];
        device_.wait(oldest.end);
        outstanding_ -= oldest.launches;
    }
}

}  // namespace lfm
