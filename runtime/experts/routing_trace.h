// Experts for tokens without a trained router: synthetic ones of a given skew and reuse, or those of a recorded run.
// So speed and hit rates can be studied on random weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "planner/model/model.h"
#include "runtime/experts/routing_trace_file.h"

namespace lfm {

struct SyntheticRouting {
    double skew = 0;  // as planner's skewed_routing; 0: all experts alike
    /// Chance that an expert of the previous token is kept; the others are chosen anew, the same one by chance
    /// included.
    double reuse = 0;
    std::uint64_t seed = 1;
};

/// A file is named by its path.
using RoutingTraceSpec = std::variant<SyntheticRouting, std::string>;

/// "uniform" or "zipf:SKEW", each with ",reuse:SHARE" and ",seed:NUMBER" if wanted; else the name of a file (one called
/// "uniform" is "./uniform"). Throws Error{kUsage} naming `option`.
RoutingTraceSpec parse_routing_trace_spec(std::string_view text, std::string_view option);

/// The n_expert_used experts of every token in every MoE layer; those of one token and layer are different. The answer
/// depends on layer and position alone, not on what was asked before. Copies are independent; one is not thread-safe.
class RoutingTrace {
public:
    /// Throws Error{kUnsupportedModel} for a model without experts.
    RoutingTrace(const HyperParameters& hyper, const SyntheticRouting& synthetic);
    /// Throws Error{kInvalidInput} when there is no token.
    explicit RoutingTrace(RecordedRouting recorded);

    /// Throws what reading the file throws.
    static RoutingTrace open(const RoutingTraceSpec& spec, const HyperParameters& hyper);

    /// [n_expert_used], valid until the next call. A recorded run begins again after its last token. Allocates nothing.
    std::span<const std::uint16_t> experts(std::uint32_t moe_layer, std::uint32_t position);

    /// For Session::force_experts.
    std::int32_t operator()(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice) {
        return experts(moe_layer, position)[choice];
    }

    std::uint32_t n_expert_used() const { return shape_.n_expert_used; }

private:
    /// A stretch of positions of one layer. Its first token keeps nothing, so that a stretch can be made without those
    /// before it: any position is reached in bounded time and memory.
    struct Stretch {
        std::vector<double> use;             // [n_expert]: chance of each, as if independent
        std::uint64_t number = ~0ull;        // position / kStretch
        std::uint32_t n_made = 0;            // tokens from its beginning
        std::uint64_t random = 0;            // state of the generator
        std::vector<std::uint16_t> choices;  // [kStretch, n_expert_used]
    };
    static constexpr std::uint32_t kStretch = 1024;

    void begin(Stretch& stretch, std::uint32_t moe_layer, std::uint64_t number) const;
    void make_next(Stretch& stretch);
    void choose(Stretch& stretch, std::span<std::uint16_t> free);

    RecordedRouting shape_;  // with the choices where they are recorded
    SyntheticRouting synthetic_;
    std::vector<Stretch> stretches_;  // [n_moe_layer]; none: recorded
    std::vector<char> taken_;         // [n_expert]: kept from the previous token
    std::vector<double> tail_;        // [n_expert + 1, n_expert_used + 1]
};

}  // namespace lfm
