#include "planner/model/routing_json.h"

#include <algorithm>

#include "planner/json/json_file.h"
#include "planner/model/routing.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormatName = "lfm-routing";
constexpr const char* kSchema = "routing.schema.json";

void require_model(const JsonNode& node, const HyperParameters& hyper) {
    require_keys(node, kSchema, {"architecture", "n_layer", "n_layer_dense", "n_expert", "n_expert_used"});
    const std::string architecture = node["architecture"].text();
    if (architecture != hyper.architecture)
        node["architecture"].fail("\"" + hyper.architecture + "\", as this model has");
    const struct {
        const char* key;
        std::uint32_t expected;
    } numbers[] = {{"n_layer", hyper.n_layer},
                   {"n_layer_dense", hyper.n_layer_dense},
                   {"n_expert", hyper.n_expert},
                   {"n_expert_used", hyper.n_expert_used}};
    for (const auto& [key, expected] : numbers)
        if (node[key].whole(0, ~std::uint32_t{0}) != expected)
            node[key].fail(std::to_string(expected) + ", as this model has");
    if (hyper.n_layer_dense == hyper.n_layer) node.fail("a model with experts", "one without");
}

std::vector<std::uint64_t> read_counts(const JsonNode& node, const HyperParameters& hyper, std::uint64_t n_tokens) {
    node.require_array(std::to_string(hyper.n_expert) + " counts, one for each expert", hyper.n_expert, hyper.n_expert);
    std::vector<std::uint64_t> counts(hyper.n_expert);
    std::uint64_t sum = 0;
    for (std::uint32_t expert = 0; expert < hyper.n_expert; ++expert)
        sum += counts[expert] = node[expert].whole(0, n_tokens);  // a token uses an expert once
    const std::uint64_t expected = n_tokens * hyper.n_expert_used;
    if (sum != expected)
        node.fail("counts that add up to n_tokens x n_expert_used, " + std::to_string(expected), std::to_string(sum));
    return counts;
}

/// Half a token is added that uses all experts alike: a few thousand tokens may miss an expert that another text needs,
/// or meet one every time, and a chance of exactly 0 or 1 would promise that this never changes. The sum stays
/// n_expert_used. (1 remains where a token uses all experts.)
std::vector<double> chances(const std::vector<std::uint64_t>& counts, double n_tokens, std::uint32_t n_expert_used) {
    constexpr double kAdded = 0.5;
    const double each = kAdded * n_expert_used / static_cast<double>(counts.size());
    std::vector<double> use;
    use.reserve(counts.size());
    for (const std::uint64_t count : counts) use.push_back((static_cast<double>(count) + each) / (n_tokens + kAdded));
    return use;
}

/// Share of choices that repeat the previous token's, beyond what independent choices with the same frequencies would.
double layer_locality(const LayerCounts& layer, double n_tokens, double n_expert_used) {
    // Of the frequencies as counted: with an added half token, choices that never change would seem to repeat by more
    // than chance.
    double expected = 0;
    for (const std::uint64_t count : layer.counts) {
        const double use = static_cast<double>(count) / n_tokens;
        expected += use * use / n_expert_used;
    }
    constexpr double kNoChoice = 1 - 1e-9;
    if (n_tokens < 2 || expected >= kNoChoice) return 0;
    // The first token has none before it.
    const double observed = static_cast<double>(layer.repeats) / ((n_tokens - 1) * n_expert_used);
    return std::max(0.0, (observed - expected) / (1 - expected));
}

/// Every use but an expert's first has a distance, `uses` in all.
std::vector<std::uint64_t> read_distances(const JsonNode& node, std::uint64_t repeats, std::uint64_t uses) {
    node.require_array("1 to " + std::to_string(kMaxReuseDistances) + " counts", 1, kMaxReuseDistances);
    std::vector<std::uint64_t> distances{node[0].whole(repeats, repeats)};
    std::uint64_t sum = repeats;
    for (std::size_t i = 1; i < node.json().size(); ++i) sum += distances.emplace_back(node[i].whole(0, uses));
    if (sum != uses)
        node.fail("counts that add up to all uses but the first of each expert, " + std::to_string(uses),
                  std::to_string(sum));
    return distances;
}

LayerCounts read_layer(const JsonNode& node, const HyperParameters& hyper, std::uint32_t layer,
                       std::uint64_t n_tokens) {
    require_keys(node, kSchema, {"layer", "counts", "repeats", "distances"});
    node["layer"].whole(layer, layer);
    LayerCounts result;
    result.counts = read_counts(node["counts"], hyper, n_tokens);
    // The first use of an expert repeats nothing.
    std::uint64_t most = 0;
    for (const std::uint64_t count : result.counts) most += count > 0 ? count - 1 : 0;
    result.repeats = node["repeats"].whole(0, most);
    if (node["distances"].exists()) result.distances = read_distances(node["distances"], result.repeats, most);
    return result;
}

}  // namespace

Routing parse_routing(std::string_view text, std::string_view source, const HyperParameters& hyper) {
    const auto json = parse_profile_json(text, source);
    const JsonNode root(json, source);
    require_head(root, kFormatName, kRoutingFormatVersion);
    require_keys(root, kSchema, {"format", "version", "model", "n_tokens", "layers"});
    require_model(root["model"], hyper);
    const std::uint64_t n_tokens = root["n_tokens"].whole(1, kMaxRoutingTokens);
    const std::uint32_t n_moe_layer = hyper.n_layer - hyper.n_layer_dense;
    const JsonNode layers = root["layers"];
    layers.require_array(std::to_string(n_moe_layer) + " layers, those with experts in order", n_moe_layer,
                         n_moe_layer);
    Routing routing;
    // Without its folders: in a plan they would say nothing elsewhere.
    const std::string name(source.substr(source.rfind('/') + 1));
    routing.basis = clean_text("file " + name + ", " + std::to_string(n_tokens) + " tokens");
    routing.use.resize(hyper.n_layer);
    const double n = static_cast<double>(n_tokens);
    double sum = 0;
    for (std::uint32_t i = 0; i < n_moe_layer; ++i) {
        const std::uint32_t layer = hyper.n_layer_dense + i;
        const LayerCounts counts = read_layer(layers[i], hyper, layer, n_tokens);
        routing.use[layer] = chances(counts.counts, n, hyper.n_expert_used);
        sum += layer_locality(counts, n, hyper.n_expert_used);
    }
    constexpr double kMostLocality = 0.999;  // below 1 by definition: something new is always possible
    routing.locality = std::min(sum / n_moe_layer, kMostLocality);
    return routing;
}

RoutingCounts make_routing_counts(const HyperParameters& hyper) {
    return {.architecture = hyper.architecture,
            .n_layer = hyper.n_layer,
            .n_layer_dense = hyper.n_layer_dense,
            .n_expert = hyper.n_expert,
            .n_expert_used = hyper.n_expert_used,
            .layers = std::vector<LayerCounts>(hyper.n_layer - hyper.n_layer_dense,
                                               {std::vector<std::uint64_t>(hyper.n_expert), 0, {}})};
}

std::string routing_to_json(const RoutingCounts& counts) {
    Json layers = Json::array();
    for (std::size_t i = 0; i < counts.layers.size(); ++i) {
        const LayerCounts& from = counts.layers[i];
        Json layer{{"layer", counts.n_layer_dense + i}, {"counts", from.counts}, {"repeats", from.repeats}};
        if (!from.distances.empty()) layer["distances"] = from.distances;
        layers.push_back(std::move(layer));
    }
    return json_text({{"format", kFormatName},
                      {"version", kRoutingFormatVersion},
                      {"model",
                       {{"architecture", clean_text(counts.architecture)},
                        {"n_layer", counts.n_layer},
                        {"n_layer_dense", counts.n_layer_dense},
                        {"n_expert", counts.n_expert},
                        {"n_expert_used", counts.n_expert_used}}},
                      {"n_tokens", counts.n_tokens},
                      {"layers", layers}});
}

}  // namespace lfm
