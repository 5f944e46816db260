// lfm-eval routing as a user calls it: counts and trace agree, plans rest on them, and bad input is named.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "memory/gguf.h"
#include "planner/model/model.h"
#include "planner/model/routing.h"
#include "planner/model/routing_json.h"
#include "runtime/experts/routing_trace.h"
#include "tests/planner/schema_check.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"
#include "tools/common/model_options.h"

namespace lfm::test {
namespace {

const std::string kEval = LFM_BINARY_DIR "/bin/lfm-eval";
const std::string kPlan = LFM_BINARY_DIR "/bin/lfm-plan";
constexpr const char* kShape =
    "lfm2moe,n_layer=4,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_expert=16,n_expert_used=3,n_layer_dense=2,"
    "n_vocab=600:"
    "Q4_0";

class EvalRoutingTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(run({kEval, "make", "--shape", kShape, "-o", model_}).code, 0);
        std::ofstream text(text_);
        for (int i = 0; i < 40; ++i) text << "words of a text, " << i * 37 % 100 << " of them; ";
    }

    Result record(const std::vector<std::string>& more) const {
        std::vector<std::string> command{kEval, "routing", "-m", model_, "-f", text_, "-o", counts_};
        command.insert(command.end(), more.begin(), more.end());
        return run(command);
    }
    HyperParameters hyper() const { return describe_model(GgufFile::open(model_)).hyper; }

    ScratchDir dir_;
    std::string model_ = dir_.file("made.gguf"), text_ = dir_.file("text"), counts_ = dir_.file("counts.json"),
                trace_ = dir_.file("trace");
};

/// The counts of one layer of a trace, by looking back from every choice.
LayerCounts recount(const RecordedRouting& trace, std::size_t layer) {
    const std::size_t k = trace.n_expert_used, n_layer = trace.n_moe_layer();
    const auto uses = [&](std::size_t token, std::uint16_t expert) {
        const auto first = trace.choices.begin() + static_cast<std::ptrdiff_t>((token * n_layer + layer) * k);
        return std::find(first, first + static_cast<std::ptrdiff_t>(k), expert) !=
               first + static_cast<std::ptrdiff_t>(k);
    };
    LayerCounts counts{std::vector<std::uint64_t>(trace.n_expert), 0, std::vector<std::uint64_t>(41)};
    for (std::size_t token = 0; token < trace.n_tokens(); ++token)
        for (std::uint16_t expert = 0; expert < trace.n_expert; ++expert) {
            if (!uses(token, expert)) continue;
            ++counts.counts[expert];
            for (std::size_t distance = 1; distance <= token; ++distance)
                if (uses(token - distance, expert)) {
                    counts.repeats += distance == 1;
                    ++counts.distances[static_cast<std::size_t>(std::log2(distance) + 1e-9)];
                    break;
                }
        }
    while (counts.distances.size() > 1 && counts.distances.back() == 0) counts.distances.pop_back();
    return counts;
}

TEST_F(EvalRoutingTest, CountsAreThoseOfTheTrace) {
    for (const char* ctx : {"64", "100000"}) {
        const Result result = record({"--trace", trace_, "-c", ctx, "--n-batch", "24"});
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(result.out, "");
        const RecordedRouting trace = read_routing_trace(trace_, hyper());
        const std::string text = tools::read_text(counts_);
        const auto json = nlohmann::json::parse(text);
        EXPECT_EQ(SchemaCheck("routing.schema.json").errors(json), std::vector<std::string>{});
        EXPECT_GT(trace.n_tokens(), 300u);
        EXPECT_EQ(json["n_tokens"], trace.n_tokens());
        ASSERT_EQ(json["layers"].size(), 2u);
        for (std::size_t layer = 0; layer < 2; ++layer) {
            const LayerCounts expected = recount(trace, layer);
            EXPECT_EQ(json["layers"][layer]["counts"], expected.counts);
            EXPECT_EQ(json["layers"][layer]["repeats"], expected.repeats);
            EXPECT_EQ(json["layers"][layer]["distances"], expected.distances);
            EXPECT_GT(expected.repeats, 0u);
        }
        const Routing routing = parse_routing(text, counts_, hyper());
        EXPECT_EQ(routing.basis, "file counts.json, " + std::to_string(trace.n_tokens()) + " tokens");
    }
}

TEST_F(EvalRoutingTest, BatchesChangeNothing) {
    ASSERT_EQ(record({"--trace", trace_, "--exact"}).code, 0);
    const std::string counts = tools::read_text(counts_), trace = tools::read_text(trace_);
    ASSERT_EQ(record({"--trace", trace_, "--exact", "--n-batch", "7", "--threads", "1"}).code, 0);
    EXPECT_EQ(tools::read_text(counts_), counts);
    EXPECT_EQ(tools::read_text(trace_), trace);
}

TEST_F(EvalRoutingTest, TheTraceHoldsWhatTheLogitsRoutesSay) {
    std::ofstream(text_) << "a few words";
    ASSERT_EQ(record({"--trace", trace_, "--exact"}).code, 0);
    const Result ids = run({kEval, "tokenize", "-m", model_}, "a few words");
    std::string tokens = "1,";  // BOS, as routing puts before the text
    for (const char c : ids.out) tokens += c == ' ' ? ',' : c;
    tokens.pop_back();
    const Result logits = run({kEval, "logits", "-m", model_, "--exact", "--tokens", tokens, "-o", dir_.file("f32"),
                               "--routes-out", dir_.file("routes")});
    ASSERT_EQ(logits.code, 0) << logits.err;
    const auto routes = nlohmann::json::parse(tools::read_text(dir_.file("routes")))["routes"];
    RoutingTrace trace = RoutingTrace::open(trace_, hyper());
    for (std::uint32_t layer = 0; layer < 2; ++layer)
        for (std::uint32_t token = 0; token < routes[layer].size(); ++token)
            for (std::uint32_t choice = 0; choice < 3; ++choice)
                EXPECT_EQ(routes[layer][token][choice], trace(layer, token, choice));
}

TEST_F(EvalRoutingTest, PlansRestOnIt) {
    ASSERT_EQ(record({}).code, 0);
    const Result plan =
        run({kPlan, "-m", model_, "--profile", "rtx-4060-ti-16gb", "-c", "128", "--routing", counts_, "-o", "json"});
    ASSERT_EQ(plan.code, 0) << plan.err;
    EXPECT_NE(plan.out.find("file counts.json"), std::string::npos);
    const Result other =
        run({kPlan, "--shape", "lfm2-24b-a2b:Q4_0", "--profile", "rtx-4060-ti-16gb", "--routing", counts_});
    EXPECT_EQ(other.code, 1);
    EXPECT_NE(other.err.find("model.n_layer: expected 40"), std::string::npos) << other.err;
}

TEST_F(EvalRoutingTest, SaysWhatIsWrongAndWritesNothing) {
    const auto refused = [&](const std::vector<std::string>& more, int code, const char* fragment) {
        const Result result = record(more);
        EXPECT_EQ(result.code, code) << result.err;
        EXPECT_NE(result.err.find(fragment), std::string::npos) << result.err;
        EXPECT_FALSE(std::filesystem::exists(counts_));
    };
    refused({"-c", "1"}, 2, "--ctx-size");
    refused({"-c", "0"}, 2, "--ctx-size");
    refused({"--color"}, 2, "color");
    std::filesystem::resize_file(text_, 0);
    refused({}, 1, "expected at least one token");
    std::filesystem::remove(text_);
    refused({}, 1, "text");
    ASSERT_EQ(
        run({kEval, "make", "--shape", "lfm2,n_layer=2,n_embd=64,n_head=2,n_ff=96,n_vocab=600:Q4_0", "-o", model_})
            .code,
        0);
    refused({}, 4, "n_expert: expected a model with experts");
    EXPECT_EQ(run({kEval, "routing", "-m", model_, "-f", text_}).code, 2);
    EXPECT_EQ(run({kEval, "routing", "--help"}).code, 0);
}

}  // namespace
}  // namespace lfm::test
