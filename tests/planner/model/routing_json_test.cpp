// Counts of a run as JSON: what they say about routing, and files that are refused.
#include "planner/model/routing_json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "memory/error.h"
#include "planner/model/routing.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "planner/plan/plan_json.h"
#include "tests/planner/sample_machine.h"
#include "tests/planner/schema_check.h"

namespace lfm::test {
namespace {

using Json = nlohmann::ordered_json;
using Pointer = Json::json_pointer;

HyperParameters hyper() {
    return describe_shape("lfm2moe,n_layer=4,n_expert=8,n_expert_used=2,n_layer_dense=1:F16").hyper;
}

/// By MoE layer. 0: every token chooses 0 and 1. 1: 0 and 1, then 2 and 3, and so on. 2: pairs stay for two tokens.
RoutingCounts regular_counts(std::uint64_t n_tokens) {
    RoutingCounts counts = make_routing_counts(hyper());
    counts.n_tokens = n_tokens;
    for (std::uint64_t token = 0; token < n_tokens; ++token)
        for (std::uint64_t choice = 0; choice < 2; ++choice) {
            ++counts.layers[0].counts[choice];
            ++counts.layers[1].counts[2 * (token % 4) + choice];
            ++counts.layers[2].counts[2 * (token / 2 % 4) + choice];
            counts.layers[0].repeats += token > 0;
            counts.layers[2].repeats += token % 2;
        }
    // In MoE layer 2 every second choice is the last token's, the others come again after seven.
    const std::uint64_t again = 2 * n_tokens - 8 - counts.layers[2].repeats;
    counts.layers[2].distances = {counts.layers[2].repeats, 0, again};
    return counts;
}

const std::string& sound_text() {
    static const std::string text = routing_to_json(regular_counts(1000));
    return text;
}
Json sound() { return Json::parse(sound_text()); }

TEST(RoutingJson, ChancesAreThoseCounted) {
    const Routing routing = parse_routing(sound_text(), "/some/where/chat.json", hyper());
    EXPECT_EQ(routing.basis, "file chat.json, 1000 tokens");
    ASSERT_EQ(routing.use.size(), 4u);
    EXPECT_TRUE(routing.use[0].empty());
    EXPECT_NEAR(routing.use[1][1], 1, 1e-3);
    EXPECT_NEAR(routing.use[1][2], 0, 1e-3);
    for (std::uint32_t expert = 0; expert < 8; ++expert) EXPECT_NEAR(routing.use[2][expert], 0.25, 1e-12);
    for (std::uint32_t layer = 1; layer < 4; ++layer) {
        EXPECT_NEAR(std::accumulate(routing.use[layer].begin(), routing.use[layer].end(), 0.0), 2, 1e-12);
        for (const double use : routing.use[layer]) {
            EXPECT_GT(use, 0);
            EXPECT_LT(use, 1);
        }
    }
    // Repeats. Layer 1: none beyond chance; layer 2: fewer than by chance; layer 3: half of the choices where a quarter
    // is expected.
    EXPECT_NEAR(routing.locality, (0 + 0 + (0.5 - 0.25) / (1 - 0.25)) / 3, 1e-3);
}

TEST(RoutingJson, ChancesStayInsideForFewAndForManyTokens) {
    for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{2}, kMaxRoutingTokens}) {
        RoutingCounts counts = make_routing_counts(hyper());
        counts.n_tokens = n;
        for (LayerCounts& layer : counts.layers) layer.counts[3] = layer.counts[5] = n;
        const Routing routing = parse_routing(routing_to_json(counts), "counts", hyper());
        EXPECT_GT(routing.use[1][0], 0);
        EXPECT_LT(routing.use[1][3], 1);
        EXPECT_EQ(routing.locality, 0);
    }
}

TEST(RoutingJson, FindsTheChancesAndTheLocalityOfARandomRun) {
    // Each choice of the previous token is kept with probability 0.4, else another is drawn by the same frequencies.
    const std::vector<double> weights{8, 5, 4, 3, 3, 2, 2, 1};
    std::mt19937 random(5);
    std::discrete_distribution<std::uint32_t> draw(weights.begin(), weights.end());
    std::bernoulli_distribution keep(0.4);
    const HyperParameters one_of_eight =
        describe_shape("lfm2moe,n_layer=3,n_expert=8,n_expert_used=1,n_layer_dense=1:F16").hyper;
    RoutingCounts counts = make_routing_counts(one_of_eight);
    counts.n_tokens = 200'000;
    for (LayerCounts& layer : counts.layers) {
        std::uint32_t last = 8;
        for (std::uint64_t token = 0; token < counts.n_tokens; ++token) {
            const std::uint32_t choice = token > 0 && keep(random) ? last : draw(random);
            ++layer.counts[choice];
            layer.repeats += choice == last;
            last = choice;
        }
    }
    const Routing routing = parse_routing(routing_to_json(counts), "counts", one_of_eight);
    EXPECT_NEAR(routing.locality, 0.4, 0.01);
    for (std::size_t expert = 0; expert < 8; ++expert) EXPECT_NEAR(routing.use[2][expert], weights[expert] / 28, 0.01);
}

TEST(RoutingJson, WhereAllExpertsAreUsedThereIsNothingToLearn) {
    const HyperParameters all =
        describe_shape("lfm2moe,n_layer=2,n_expert=2,n_expert_used=2,n_layer_dense=1:F16").hyper;
    RoutingCounts counts = make_routing_counts(all);
    counts.n_tokens = 10;
    counts.layers[0] = {{10, 10}, 18};
    const Routing routing = parse_routing(routing_to_json(counts), "counts", all);
    EXPECT_EQ(routing.use[1], (std::vector<double>{1, 1}));
    EXPECT_EQ(routing.locality, 0);
}

TEST(RoutingJson, ChoicesThatNeverChangeAreNoLocality) {
    const HyperParameters six =
        describe_shape("lfm2moe,n_layer=2,n_expert=8,n_expert_used=6,n_layer_dense=1:F16").hyper;
    RoutingCounts counts = make_routing_counts(six);
    counts.n_tokens = 1000;
    counts.layers[0] = {{1000, 1000, 1000, 1000, 1000, 1000, 0, 0}, 6 * 999};
    EXPECT_EQ(parse_routing(routing_to_json(counts), "counts", six).locality, 0);
}

TEST(RoutingJson, LocalityStaysBelowOne) {
    RoutingCounts counts = make_routing_counts(hyper());
    counts.n_tokens = 1'000'000;
    for (LayerCounts& layer : counts.layers) layer = {std::vector<std::uint64_t>(8, 250'000), 2'000'000 - 8};
    EXPECT_EQ(parse_routing(routing_to_json(counts), "counts", hyper()).locality, 0.999);
}

TEST(RoutingJson, PlansRestOnIt) {
    const ModelDescription model = describe_shape("lfm2-8b-a1b:Q4_0");
    RoutingCounts counts = make_routing_counts(model.hyper);
    counts.n_tokens = 1000;
    const std::uint64_t few = counts.n_tokens * 4 / 10 / 28;
    for (LayerCounts& layer : counts.layers) {
        layer.counts.assign(32, few);
        for (std::size_t i = 8; i < 12; ++i) layer.counts[i] = (4000 - 28 * few) / 4;
        layer.repeats = 3000;
    }
    PlanRequest request;
    request.sizes.n_ctx = 1024;
    request.vram_budget = Bytes{1'500'000'000};
    const MachinePart part = sample_part();
    const MachineProfile machine = merge_parts({&part, 1}, nullptr);
    const Plan uniform = std::get<Plan>(make_plan(model, machine, request));
    request.routing = parse_routing(routing_to_json(counts), "chat.json", model.hyper);
    const Plan plan = std::get<Plan>(make_plan(model, machine, request));
    EXPECT_EQ(plan.routing, "file chat.json, 1000 tokens");
    EXPECT_GT(plan.decode.mid, uniform.decode.mid);
    const Plan back = parse_plan(to_json(plan), "plan.json");
    EXPECT_EQ(back.routing, plan.routing);
    EXPECT_EQ(back.experts, plan.experts);
    EXPECT_EQ(back.n_slots, plan.n_slots);
}

TEST(RoutingJson, IsWrittenAsTheSchemaSays) {
    SchemaCheck schema("routing.schema.json");
    EXPECT_EQ(schema.errors(nlohmann::json::parse(sound_text())), std::vector<std::string>{});
    EXPECT_EQ(schema.keys_not_met(), std::vector<std::string>{});
    EXPECT_NE(sound_text().find("      \"layer\": 2,\n      \"counts\": [250, 250, 250, 250, 250, 250, 250, 250],\n"
                                "      \"repeats\": 0\n    },\n"),
              std::string::npos)
        << sound_text();
}

/// The message, or "" when the text is accepted.
std::string refusal(const std::string& text, const HyperParameters& model = hyper()) {
    try {
        parse_routing(text, "bad.json", model);
        EXPECT_EQ(SchemaCheck("routing.schema.json").errors(nlohmann::json::parse(text)), std::vector<std::string>{});
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput) << error.what();
        EXPECT_TRUE(std::string(error.what()).starts_with("bad.json: ")) << error.what();
        return error.what();
    }
    return "";
}

TEST(RoutingJson, AnotherModelsIsNamed) {
    const struct {
        const char* shape;
        const char* fragment;
    } cases[] = {
        {"lfm2:F16", "model.architecture: expected \"lfm2\", as this model has, found \"lfm2moe\""},
        {"lfm2moe,n_layer=5,n_expert=8:F16", "model.n_layer: expected 5, as this model has, found 4"},
        {"lfm2moe,n_layer=4,n_expert=8,n_layer_dense=2:F16", "model.n_layer_dense: expected 2"},
        {"lfm2moe,n_layer=4,n_expert=6:F16", "model.n_expert: expected 6, as this model has, found 8"},
        {"lfm2moe,n_layer=4,n_expert=8,n_expert_used=3:F16", "model.n_expert_used: expected 3"},
        {"lfm2-24b-a2b:Q4_0", "model.n_layer: expected 40, as this model has, found 4"},
    };
    for (const auto& [shape, fragment] : cases)
        EXPECT_NE(refusal(sound_text(), describe_shape(shape).hyper).find(fragment), std::string::npos)
            << refusal(sound_text(), describe_shape(shape).hyper);
}

TEST(RoutingJson, NothingToReadForAModelWithoutExperts) {
    for (const char* shape : {"lfm2moe,n_layer_dense=4:F16", "lfm2:F16"}) {
        const HyperParameters dense = describe_shape(shape).hyper;
        RoutingCounts counts = make_routing_counts(dense);
        counts.n_tokens = 1;
        EXPECT_NE(refusal(routing_to_json(counts), dense).find("model: expected a model with experts"),
                  std::string::npos)
            << refusal(routing_to_json(counts), dense);
    }
}

TEST(RoutingJson, DamagedFilesAreRefused) {
    const struct {
        std::string pointer;
        Json value;
        std::string fragment;
    } edits[] = {
        {"/format", "lfm-plan", "format: expected one of lfm-routing, found \"lfm-plan\""},
        {"/version", 2, "version: expected version 1, the one this program reads, found 2"},
        {"/speed", 1, "speed: expected a key of profiles/routing.schema.json"},
        {"/model/speed", 1, "model.speed: expected a key of profiles/routing.schema.json"},
        {"/layers/0/speed", 1, "layers[0].speed: expected a key of profiles/routing.schema.json"},
        {"/model", Json::array(), "model: expected an object"},
        {"/model/n_layer", -4, "model.n_layer: expected"},
        {"/model/architecture", 3, "model.architecture: expected a text"},
        {"/n_tokens", 0, "n_tokens: expected a whole number from 1 to 1099511627776, found 0"},
        {"/n_tokens", std::uint64_t{1} << 41, "n_tokens: expected"},
        {"/n_tokens", 1000.0, "n_tokens: expected"},
        {"/n_tokens", 999, "layers[0].counts[0]: expected a whole number from 0 to 999, found 1000"},
        {"/n_tokens", 1001,
         "layers[0].counts: expected counts that add up to n_tokens x n_expert_used, 2002, found 2000"},
        {"/layers", Json::object(), "layers: expected 3 layers"},
        {"/layers", Json::array(), "layers: expected 3 layers, those with experts in order, found 0 entries"},
        {"/layers/3", sound()["layers"][0], "layers: expected 3 layers, those with experts in order, found 4 entries"},
        {"/layers/0", 1, "layers[0]: expected an object, found 1"},
        {"/layers/0/layer", 0, "layers[0].layer: expected a whole number from 1 to 1, found 0"},
        {"/layers/1/layer", 1, "layers[1].layer: expected a whole number from 2 to 2, found 1"},
        {"/layers/1/counts", 1, "layers[1].counts: expected 8 counts, one for each expert, found 1"},
        {"/layers/1/counts", std::vector<int>(9, 1), "layers[1].counts: expected 8 counts"},
        {"/layers/1/counts/4", -1, "layers[1].counts[4]: expected a whole number from 0 to 1000, found -1"},
        {"/layers/1/counts/4", 250.0, "layers[1].counts[4]: expected a whole number"},
        {"/layers/1/counts/4", "250", "layers[1].counts[4]: expected a whole number"},
        {"/layers/1/counts/4", nullptr, "layers[1].counts[4]: expected a whole number"},
        {"/layers/1/counts/4", 249, "layers[1].counts: expected counts that add up"},
        {"/layers/1/repeats", 1993, "layers[1].repeats: expected a whole number from 0 to 1992, found 1993"},
        {"/layers/0/repeats", 1999, "layers[0].repeats: expected a whole number from 0 to 1998, found 1999"},
        {"/layers/1/repeats", -1, "layers[1].repeats: expected"},
        {"/layers/1/repeats", 1e300, "layers[1].repeats: expected"},
        {"/layers/0/distances", 1, "layers[0].distances: expected 1 to 41 counts"},
        {"/layers/0/distances", Json::array(), "layers[0].distances: expected 1 to 41 counts"},
        {"/layers/2/distances", std::vector<int>(42, 1), "layers[2].distances: expected 1 to 41 counts"},
        {"/layers/2/distances/0", 999, "layers[2].distances[0]: expected a whole number from 1000 to 1000, found 999"},
        {"/layers/2/distances/1", -1, "layers[2].distances[1]: expected a whole number"},
        {"/layers/2/distances/2", 991,
         "layers[2].distances: expected counts that add up to all uses but the first of each expert, 1992, found 1991"},
    };
    for (const auto& [pointer, value, fragment] : edits) {
        Json edited = sound();
        edited[Pointer(pointer)] = value;
        EXPECT_NE(refusal(edited.dump()).find(fragment), std::string::npos)
            << pointer << " = " << value << ": " << refusal(edited.dump());
    }
}

TEST(RoutingJson, MissingKeysPrefixesAndWrongBytesAreRefused) {
    for (const char* object : {"", "/model", "/layers/1"}) {
        const Json whole = sound();
        for (const auto& [key, value] : whole[Pointer(object)].items()) {
            Json edited = sound();
            edited[Pointer(object)].erase(key);
            EXPECT_NE(refusal(edited.dump()).find(key + ": expected"), std::string::npos) << object << "/" << key;
        }
    }
    const std::string text = sound_text();
    for (std::size_t size = 0; size + 1 < text.size(); ++size)
        ASSERT_TRUE(refusal(text.substr(0, size)).starts_with("bad.json: expected JSON")) << size;
    std::string not_a_number = text;
    not_a_number.replace(text.find("1000"), 4, "NaN");
    EXPECT_NE(refusal(not_a_number).find("expected JSON"), std::string::npos);
    EXPECT_NE(refusal(std::string(100'000, '[')).find("nesting of at most 32"), std::string::npos);
    EXPECT_NE(refusal(text + std::string(4 << 20, ' ')).find("at most 4 MiB"), std::string::npos);
    std::mt19937 random(3);
    for (int i = 0; i < 20'000; ++i) {
        std::string edited = text;
        edited[random() % edited.size()] = "0123456789{}[]\",:.e-x \n\x00\xff"[random() % 25];
        refusal(edited);  // or accepted as something else that is sound
    }
}

}  // namespace
}  // namespace lfm::test
