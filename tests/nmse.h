// Normalised mean square error, the measure of every comparison of logits.
#pragma once

#include <span>

namespace lfm::test {

/// Σ(a − b)² / Σb². `a` is at least as long as `b`.
inline double nmse(std::span<const float> a, std::span<const float> b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        norm += double{b[i]} * b[i];
    }
    return error / norm;
}

}  // namespace lfm::test
