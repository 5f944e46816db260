// How long a batch of prompt tokens takes, and which cold experts travel to the device for it. Pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "planner/cost/decode_cost.h"
#include "planner/cost/placement.h"

namespace lfm {

/// One expert's part of a batch, in seconds.
struct GroupTimes {
    double host = 0;    // computed where it lies
    double copy = 0;    // over the bus
    double device = 0;  // computed on the device
};

/// Of experts that the device does not hold, the first `streamed` travel (by falling number of tokens), the rest stay
/// with the host; host and bus work side by side. `device_seconds`: what the device does anyway.
struct GroupSplit {
    std::uint32_t streamed = 0;
    double seconds = 0;  // of the layer, from its start
};

/// Experts that travel do so by rounds, into two halves of the staging slots in turns: a round is computed when all of
/// it has arrived, and the next but one begins when it has been. What a round costs beside its experts:
struct RoundTimes {
    std::uint32_t n_expert = 1;
    double copy = 0;    // latency
    double device = 0;  // operations
};

/// The split that ends first. `groups` by falling number of tokens. The bus may begin with the layer, as which experts
/// lie in RAM is known; the host begins after `routed` seconds.
GroupSplit split_groups(std::span<const GroupTimes> groups, double routed, double device_seconds, double host_slowdown,
                        const RoundTimes& round);

struct PrefillTime {
    double seconds = 0;                   // of one batch
    std::vector<std::uint32_t> streamed;  // [n_layer]: experts that travel
};

/// A batch of `n_tokens` at position 0 with the given placement, of which n_outputs get logits.
PrefillTime prefill_time(const ModelDescription& model, const MachineRates& rates, const Routing& routing, KvTypes kv,
                         const Placement& placement, std::uint32_t n_tokens, std::uint32_t n_outputs = 1);

}  // namespace lfm
