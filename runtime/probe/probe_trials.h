// Measuring in rounds: every trial once a round, so that a machine that slows down slows all figures alike.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/machine/machine.h"

namespace lfm {

using ProbeClock = std::chrono::steady_clock;

/// One figure in the making.
struct Trial {
    std::string what;  // "read bandwidth with 2 threads"
    std::string unit;  // "GB/s"
    Figure* figure;    // gets the median of the samples
    std::function<double()> sample;
    int per_round = 1;  // short samples are taken more often
};

struct TrialTime {
    ProbeClock::time_point end;       // no further sample after it, if there were enough rounds,
    ProbeClock::time_point last_end;  // and none in any case, except in the first round
    const std::atomic<bool>* stop = nullptr;
    std::function<void(double share_done)> progress;
};

/// One round that does not count, then rounds until time is up. Returns remarks on figures whose quartiles lie more
/// than a tenth of the median apart: the worst of them, and how many there are. Throws Error{kInterrupted} when `stop`
/// became true, Error{kInvalidInput} for samples that are not positive, finite numbers.
std::vector<std::string> run_trials(std::span<const Trial> trials, const TrialTime& time);

/// Throws Error{kInterrupted} when `stop` became true.
void check_stop(const std::atomic<bool>* stop);

/// Seconds that `work` takes; above zero.
template <typename Work>
double seconds_of(Work&& work) {
    const auto begin = ProbeClock::now();
    work();
    const std::chrono::duration<double> passed = ProbeClock::now() - begin;
    return passed.count() > 1e-9 ? passed.count() : 1e-9;
}

/// For messages: "0.42", "12.3", "840".
std::string three_figures(double value);

}  // namespace lfm
