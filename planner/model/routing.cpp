#include "planner/model/routing.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace lfm {
namespace {

/// Scales weights so that they add up to k with none above 1: what is cut off goes to the others.
void normalise(std::vector<double>& use, double k) {
    for (int round = 0; round < 100; ++round) {
        double fixed = 0, free = 0;
        for (const double u : use) (u >= 1 ? fixed : free) += std::min(u, 1.0);
        if (free <= 0) break;
        const double factor = (k - fixed) / free;
        bool again = false;
        for (double& u : use) {
            if (u >= 1) {
                u = 1;
                continue;
            }
            u *= factor;
            again = again || u > 1;
        }
        if (!again) break;
    }
    for (double& u : use) u = std::clamp(u, 0.0, 1.0);
}

/// P(j of the first n are chosen), n = 0 … use.size(), j = 0 … k, every one independently.
std::vector<double> independent_counts(const std::vector<double>& use, std::uint32_t k) {
    const std::size_t width = k + 1;
    std::vector<double> counts((use.size() + 1) * width, 0.0);
    counts[0] = 1;
    for (std::size_t n = 0; n < use.size(); ++n)
        for (std::size_t j = 0; j < width; ++j)
            counts[(n + 1) * width + j] =
                counts[n * width + j] * (1 - use[n]) + (j > 0 ? counts[n * width + j - 1] * use[n] : 0.0);
    return counts;
}

}  // namespace

Routing uniform_routing(const HyperParameters& hyper) { return skewed_routing(hyper, 0, 0); }

Routing skewed_routing(const HyperParameters& hyper, double skew, double locality) {
    Routing routing;
    routing.locality = locality;
    if (skew == 0 && locality == 0) {
        routing.basis = "uniform";
    } else {
        char text[64];
        std::snprintf(text, sizeof text, "skew %g, locality %g", skew, locality);
        routing.basis = text;
    }
    routing.use.resize(hyper.n_layer);
    for (std::uint32_t layer = hyper.n_layer_dense; layer < hyper.n_layer; ++layer) {
        std::vector<double>& use = routing.use[layer];
        use.resize(hyper.n_expert);
        // A rotation: another favourite in every layer.
        for (std::uint32_t rank = 0; rank < hyper.n_expert; ++rank)
            use[(rank + std::uint64_t{layer} * 7) % hyper.n_expert] = std::pow(rank + 1.0, -skew);
        const double sum = std::accumulate(use.begin(), use.end(), 0.0);
        for (double& u : use) u *= hyper.n_expert_used / sum;
        normalise(use, hyper.n_expert_used);
    }
    return routing;
}

std::vector<std::uint32_t> by_frequency(const std::vector<double>& use) {
    std::vector<std::uint32_t> order(use.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return use[a] > use[b]; });
    return order;
}

HitTable::HitTable(const std::vector<double>& use, std::uint32_t k) : k_(k) {
    const std::size_t n_expert = use.size(), width = k + 1;
    // An expert that is always (never) used would leave nothing to divide by.
    std::vector<double> chance(use);
    for (double& u : chance) u = std::clamp(u, 1e-9, 1 - 1e-9);
    const std::vector<double> first = independent_counts(chance, k);
    std::ranges::reverse(chance);
    const std::vector<double> last = independent_counts(chance, k);
    probability_.assign((n_expert + 1) * width, 0.0);
    for (std::size_t n = 0; n <= n_expert; ++n) {
        double* row = &probability_[n * width];
        double sum = 0;
        for (std::size_t h = 0; h <= k; ++h)
            sum += row[h] = first[n * width + h] * last[(n_expert - n) * width + k - h];
        for (std::size_t h = 0; h <= k && sum > 0; ++h) row[h] /= sum;
    }
}

}  // namespace lfm
