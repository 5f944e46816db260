#include "runtime/session/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <sstream>
#include <string_view>

#include "memory/error.h"

namespace lfm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int kMaxRecent = 1 << 20;  // longer than any context: bounds the ring

struct Check {
    std::string_view option, key;
    double value, lowest, highest;
    std::string_view range;
};

constexpr std::size_t kNeighbours = 64;  // logits that one best stands for
constexpr float kNoWeight = -104;        // exp of less is 0 in a float

/// The largest of kNeighbours. In lanes, so that it is vectorised: the language fixes the order otherwise.
float best_of(const float* logits) {
    constexpr std::size_t kLanes = 16;
    float best[kLanes];
    std::copy_n(logits, kLanes, best);
    for (std::size_t i = kLanes; i < kNeighbours; i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            best[lane] = best[lane] < logits[i + lane] ? logits[i + lane] : best[lane];
    return *std::max_element(best, best + kLanes);
}

/// exp of the distance to the best; an infinite best has weight 1 as well, not NaN.
float relative_weight(float logit, float best_logit, float temperature) {
    return logit == best_logit ? 1.0f : std::exp((logit - best_logit) / temperature);
}

}  // namespace

void validate(const SamplingParams& params, SamplingSource source) {
    constexpr double kMaxFloat = std::numeric_limits<float>::max();
    constexpr double kMaxInt = std::numeric_limits<int>::max();
    const Check checks[] = {
        {"--temp", "temp", params.temperature, -kMaxFloat, kMaxFloat, "a finite number"},
        {"--top-k", "top_k", double(params.top_k), 0, kMaxInt, "0 (off) or more"},
        {"--top-p", "top_p", params.top_p, 0, 1, "0 to 1"},
        {"--min-p", "min_p", params.min_p, 0, 1, "0 to 1"},
        {"--repeat-penalty", "penalty_repeat", params.repeat_penalty, std::numeric_limits<float>::min(), kMaxFloat,
         "a finite number above 0"},
        {"--repeat-last-n", "penalty_last_n", double(params.repeat_last_n), 0, kMaxRecent, "0 to 1048576"},
    };
    for (const Check& check : checks) {
        if (check.value >= check.lowest && check.value <= check.highest) continue;  // NaN fails
        std::ostringstream where, message;
        message << "expected " << check.range << ", found " << check.value;
        if (source == SamplingSource::kOptions) throw Error{ErrorCode::kUsage, check.option, message.str()};
        where << "general.sampling." << check.key;
        throw Error{ErrorCode::kInvalidModel, where.str(), message.str()};
    }
}

Sampler::Sampler(const SamplingParams& params, std::uint32_t n_vocab) : params_(params), random_(params.seed) {
    validate(params);
    const std::size_t n_bests = (n_vocab + kNeighbours - 1) / kNeighbours;
    logits_.assign(n_bests * kNeighbours, kNever);
    bests_.resize(n_bests);
    ordered_.resize(n_bests);
    candidates_.resize(n_vocab);
    recent_.reserve(static_cast<std::size_t>(params.repeat_last_n));
}

void Sampler::accept(std::int32_t token) {
    if (token < 0 || static_cast<std::size_t>(token) >= candidates_.size())
        throw Error{ErrorCode::kInvalidInput, "token",
                    "expected an id below " + std::to_string(candidates_.size()) + ", found " + std::to_string(token)};
    const auto limit = static_cast<std::size_t>(params_.repeat_last_n);
    if (recent_.size() < limit) {
        recent_.push_back(token);
    } else if (limit > 0) {
        recent_[oldest_] = token;
        oldest_ = (oldest_ + 1) % limit;
    }
}

std::int32_t Sampler::sample(std::span<const float> logits) {
    const Candidate best = load(logits);
    if (best.logit == kNever)
        throw Error{ErrorCode::kInvalidInput, "logits", "expected a number above -inf, found only NaN and -inf"};
    if (params_.temperature <= 0) return best.id;

    std::span<Candidate> kept = gather(least_that_counts(best.logit));
    const auto k = static_cast<std::size_t>(params_.top_k);
    if (k > 0 && k < candidates_.size()) kept = keep_top_k(kept, k);
    kept = keep_top_p(kept, params_.top_p, best.logit);
    kept = keep_min_p(kept, params_.min_p, best.logit);
    return draw(kept, best.logit);
}

/// Copies the logits, penalties applied; returns the best.
Sampler::Candidate Sampler::load(std::span<const float> logits) {
    if (logits.empty() || logits.size() != candidates_.size())
        throw Error{ErrorCode::kInvalidInput, "logits",
                    "expected " + std::to_string(candidates_.size()) + ", found " + std::to_string(logits.size())};
    for (std::size_t i = 0; i < logits.size(); ++i) logits_[i] = std::isnan(logits[i]) ? kNever : logits[i];
    for (const std::int32_t id : recent_) {
        // Computed from the input, so that a token seen twice is still penalised once.
        const float logit = logits[static_cast<std::size_t>(id)];
        if (std::isnan(logit)) continue;
        logits_[static_cast<std::size_t>(id)] =
            logit > 0 ? logit / params_.repeat_penalty : logit * params_.repeat_penalty;
    }
    for (std::size_t i = 0; i < bests_.size(); ++i) bests_[i] = best_of(&logits_[i * kNeighbours]);
    const auto best = std::ranges::max_element(bests_);  // the first of equals
    const auto first = logits_.begin() + (best - bests_.begin()) * std::ptrdiff_t{kNeighbours};
    return {static_cast<std::int32_t>(std::find(first, first + kNeighbours, *best) - logits_.begin()), *best};
}

/// What is below is dropped by the cuts, or could not be drawn.
float Sampler::least_that_counts(float best_logit) {
    const auto k = static_cast<std::size_t>(params_.top_k);
    float least = kNever;
    if (k > 0 && k <= bests_.size()) {  // each best is a logit, so that at least k are not below the k-th best
        ordered_ = bests_;
        std::ranges::nth_element(ordered_, ordered_.begin() + static_cast<std::ptrdiff_t>(k) - 1, std::greater());
        least = ordered_[k - 1];
    }
    if (params_.top_p < 1) return least;  // the sum of all that top-k keeps matters
    if (params_.min_p > 0) least = std::max(least, best_logit + std::log(params_.min_p));
    return std::max(least, best_logit + kNoWeight * params_.temperature);
}

/// In the order of ids.
std::span<Sampler::Candidate> Sampler::gather(float least) {
    std::size_t n = 0;
    for (std::size_t block = 0; block < bests_.size(); ++block) {
        if (bests_[block] < least) continue;
        const std::size_t first = block * kNeighbours, end = std::min(first + kNeighbours, candidates_.size());
        for (std::size_t i = first; i < end; ++i)
            if (logits_[i] >= least) candidates_[n++] = {static_cast<std::int32_t>(i), logits_[i]};
    }
    return std::span(candidates_).first(n);
}

/// Sorted.
std::span<Sampler::Candidate> Sampler::keep_top_k(std::span<Candidate> candidates, std::size_t k) {
    const std::size_t n = std::min(k, candidates.size());
    std::ranges::partial_sort(candidates, candidates.begin() + static_cast<std::ptrdiff_t>(n), Better());
    return candidates.first(n);
}

std::span<Sampler::Candidate> Sampler::keep_top_p(std::span<Candidate> candidates, float p, float best_logit) {
    if (p >= 1) return candidates;
    double total = 0;
    for (const Candidate& candidate : candidates) total += relative_weight(candidate.logit, best_logit, 1);
    // The best few usually reach p: sort in growing steps, not the whole vocabulary.
    std::size_t n_sorted = 0;
    double sum = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (i == n_sorted) {
            n_sorted = std::min(candidates.size(), std::max<std::size_t>(64, 4 * n_sorted));
            const auto next = candidates.begin() + static_cast<std::ptrdiff_t>(n_sorted);
            const auto first = candidates.begin() + static_cast<std::ptrdiff_t>(i);
            std::nth_element(first, next, candidates.end(), Better());
            std::sort(first, next, Better());
        }
        sum += relative_weight(candidates[i].logit, best_logit, 1);
        if (sum >= p * total) return candidates.first(i + 1);
    }
    return candidates;
}

std::span<Sampler::Candidate> Sampler::keep_min_p(std::span<Candidate> candidates, float min_p, float best_logit) {
    if (min_p <= 0) return candidates;
    const float lowest = best_logit + std::log(min_p);
    const auto dropped = std::ranges::remove_if(candidates, [=](const Candidate& c) { return c.logit < lowest; });
    return candidates.first(candidates.size() - dropped.size());
}

std::int32_t Sampler::draw(std::span<Candidate> candidates, float best_logit) {
    double total = 0;
    for (Candidate& candidate : candidates) {
        candidate.logit = relative_weight(candidate.logit, best_logit, params_.temperature);  // a weight from here on
        total += candidate.logit;
    }
    // Own conversion: std::uniform_real_distribution differs between standard libraries.
    const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
    double sum = 0;
    std::int32_t last = candidates.front().id;
    for (const Candidate& candidate : candidates) {
        if (candidate.logit <= 0) continue;
        sum += candidate.logit;
        last = candidate.id;
        if (target < sum) break;
    }
    return last;  // also when rounding carried the target up to the total
}

}  // namespace lfm
