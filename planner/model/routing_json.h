// Counts of which experts a run used, as JSON (schema: profiles/routing.schema.json). parse_routing in routing.h reads
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/model/model.h"

namespace lfm {

inline constexpr int kRoutingFormatVersion = 1;

/// The most tokens that a file may count: sums stay exact in 64 bits, shares in doubles.
inline constexpr std::uint64_t kMaxRoutingTokens = std::uint64_t{1} << 40;

/// Buckets of reuse distances: enough for kMaxRoutingTokens.
inline constexpr std::size_t kMaxReuseDistances = 41;

/// Of one MoE layer.
struct LayerCounts {
    std::vector<std::uint64_t> counts;  // [n_expert]: tokens that used the expert; n_tokens · n_expert_used in all
    std::uint64_t repeats = 0;          // choices that the previous token also made
    /// How many tokens before the expert was used last: [i] counts distances of 2^i to 2^(i+1) - 1, so [0] is repeats.
    /// First uses have none. Empty: not counted.
    std::vector<std::uint64_t> distances;
    bool operator==(const LayerCounts&) const = default;
};

struct RoutingCounts {
    std::string architecture;
    std::uint32_t n_layer = 0, n_layer_dense = 0, n_expert = 0, n_expert_used = 0;
    std::uint64_t n_tokens = 0;       // of one sequence, or of several one after the other
    std::vector<LayerCounts> layers;  // [n_layer - n_layer_dense]
};

/// Nothing counted yet, room for every MoE layer.
RoutingCounts make_routing_counts(const HyperParameters& hyper);

/// Keys in a fixed order, a layer's counts on one line.
std::string routing_to_json(const RoutingCounts& counts);

}  // namespace lfm
