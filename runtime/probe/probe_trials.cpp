#include "runtime/probe/probe_trials.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "memory/error.h"

namespace lfm {
namespace {

constexpr std::size_t kEnoughRounds = 5;
constexpr double kNoisySpread = 0.1;
constexpr std::size_t kMostRemarks = 4;

/// Of sorted values, with linear interpolation between two of them.
double quantile(std::span<const double> sorted, double share) {
    const double at = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Runs all trials in rounds and keeps their samples.
class Rounds {
public:
    Rounds(std::span<const Trial> trials, const TrialTime& time)
        : trials_(trials), time_(time), samples_(trials.size()), begin_(ProbeClock::now()) {}

    void run() {
        for (const Trial& trial : trials_) check_stop(time_.stop), trial.sample();
        std::size_t n_rounds = 0;
        do {
            const bool enough = n_rounds >= kEnoughRounds;
            if (!run_one(n_rounds == 0 ? ProbeClock::time_point::max() : enough ? time_.end : time_.last_end)) return;
        } while (++n_rounds < kEnoughRounds || ProbeClock::now() < time_.end);
    }

    std::vector<double>& samples(std::size_t trial) { return samples_[trial]; }

private:
    /// Takes every trial's samples of one round; false when time ran out within it.
    bool run_one(ProbeClock::time_point end) {
        int most = 1;
        for (const Trial& trial : trials_) most = std::max(most, trial.per_round);
        for (int turn = 0; turn < most; ++turn)
            for (std::size_t i = 0; i < trials_.size(); ++i) {
                if (turn >= trials_[i].per_round) continue;
                check_stop(time_.stop);
                if (ProbeClock::now() >= end) return false;
                samples_[i].push_back(trials_[i].sample());
                report();
            }
        return true;
    }

    void report() const {
        if (!time_.progress) return;
        const std::chrono::duration<double> passed = ProbeClock::now() - begin_;
        const std::chrono::duration<double> whole = time_.end - begin_;
        time_.progress(whole > passed ? passed / whole : 1.0);
    }

    std::span<const Trial> trials_;
    const TrialTime& time_;
    std::vector<std::vector<double>> samples_;
    ProbeClock::time_point begin_;
};

}  // namespace

void check_stop(const std::atomic<bool>* stop) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kInterrupted, "probe", "stopped on request");
}

std::string three_figures(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", value >= 100 ? 0 : value >= 10 ? 1 : 2, value);
    return text;
}

std::vector<std::string> run_trials(std::span<const Trial> trials, const TrialTime& time) {
    Rounds rounds(trials, time);
    rounds.run();
    std::vector<std::pair<double, std::string>> noisy;  // by spread
    for (std::size_t i = 0; i < trials.size(); ++i) {
        const Trial& trial = trials[i];
        std::vector<double>& samples = rounds.samples(i);
        std::ranges::sort(samples);
        const double low = quantile(samples, 0.25);
        const double high = quantile(samples, 0.75);
        const double median = quantile(samples, 0.5);
        if (!std::isfinite(median) || !(low > 0))
            throw Error(ErrorCode::kInvalidInput, trial.what,
                        "expected positive figures, found " + three_figures(low) + " to " + three_figures(high) + " " +
                            trial.unit);
        const double spread = (high - low) / median;
        *trial.figure = {median, Measured{static_cast<std::uint32_t>(samples.size()), spread}};
        if (spread > kNoisySpread)
            noisy.push_back({spread, "noisy: " + trial.what + " moved by " + std::to_string(std::lround(spread * 100)) +
                                         " % (" + three_figures(low) + " to " + three_figures(high) + " " + trial.unit +
                                         ")"});
    }
    std::ranges::stable_sort(noisy, [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::string> remarks;
    for (const auto& [spread, remark] : noisy) {
        if (remarks.size() < kMostRemarks) remarks.push_back(remark);
    }
    if (noisy.size() > kMostRemarks)
        remarks.push_back("noisy: " + std::to_string(noisy.size()) + " of " + std::to_string(trials.size()) +
                          " figures moved by more than 10 %");
    return remarks;
}

}  // namespace lfm
