// Which experts a token is likely to use: what placement and predictions assume, and how they know it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/model/model.h"

namespace lfm {

struct Routing {
    std::string basis;  // "uniform", "skew 0.8, locality 0.3", "file NAME, 120000 tokens"
    /// [n_layer][n_expert]: the chance that a token uses the expert; a MoE layer's add up to n_expert_used, dense
    /// layers are empty.
    std::vector<std::vector<double>> use;
    /// Share of choices that repeat one of the previous token's, beyond what `use` makes likely.
    double locality = 0;
};

/// Every expert as often as any other.
Routing uniform_routing(const HyperParameters& hyper);

/// Expert number r by frequency (from 1) is used in proportion to r^-skew, the order differing from layer to layer.
/// skew ≥ 0, 0 ≤ locality < 1.
Routing skewed_routing(const HyperParameters& hyper, double skew, double locality);

/// Reads counts recorded from a run (schema: profiles/routing.schema.json). `source` begins every message. Throws
/// Error{kInvalidInput} for a damaged file or another model's, naming what differs.
Routing parse_routing(std::string_view text, std::string_view source, const HyperParameters& hyper);

/// Experts of one layer by falling frequency; among equals, by number.
std::vector<std::uint32_t> by_frequency(const std::vector<double>& use);

/// P(h of a token's k experts are among the n most frequent), for every n and h. Draws without replacement: for equal
/// frequencies the hypergeometric distribution, else its generalisation (independent choices on condition that there
/// are k of them).
class HitTable {
public:
    /// `use` in falling order.
    HitTable(const std::vector<double>& use, std::uint32_t k);

    /// [k + 1]
    const double* hits(std::uint32_t n) const { return &probability_[std::size_t{n} * (k_ + 1)]; }
    std::uint32_t k() const { return k_; }

private:
    std::uint32_t k_;
    std::vector<double> probability_;  // [n_expert + 1, k + 1]
};

}  // namespace lfm
