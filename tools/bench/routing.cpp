#include "tools/bench/routing.h"

#include <algorithm>

#include "planner/model/routing_json.h"

namespace lfm::tools {
namespace {

RoutingCounts count(const RecordedRouting& recorded, const HyperParameters& hyper) {
    RoutingCounts counts = make_routing_counts(hyper);
    const std::size_t k = recorded.n_expert_used;
    counts.n_tokens = recorded.n_tokens();
    std::span<const std::uint16_t> rest(recorded.choices);
    for (std::size_t token = 0; token < counts.n_tokens; ++token)
        for (LayerCounts& layer : counts.layers) {
            const auto before = token == 0 ? rest.first(0) : std::span(rest.data() - recorded.choices_per_token(), k);
            for (const std::uint16_t expert : rest.first(k)) {
                ++layer.counts[expert];
                layer.repeats += std::ranges::find(before, expert) != before.end();
            }
            rest = rest.subspan(k);
        }
    return counts;
}

}  // namespace

Routing expected_routing(const RoutingTraceSpec& spec, const HyperParameters& hyper) {
    if (const auto* synthetic = std::get_if<SyntheticRouting>(&spec))
        return skewed_routing(hyper, synthetic->skew, synthetic->reuse);
    const auto& path = std::get<std::string>(spec);
    return parse_routing(routing_to_json(count(read_routing_trace(path, hyper), hyper)), path, hyper);
}

}  // namespace lfm::tools
