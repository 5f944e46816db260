// Experts from a trace: distribution and reuse as asked for, the same in any order; files that are refused.
#include "runtime/experts/routing_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <set>

#include <sys/stat.h>

#include "memory/error.h"
#include "planner/model/routing.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "runtime/session/session.h"
#include "tests/allocation_counter.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

HyperParameters hyper(const char* shape = "lfm2moe,n_layer=5,n_expert=64,n_expert_used=4,n_layer_dense=2:F16") {
    return describe_shape(shape).hyper;
}

SyntheticRouting synthetic(const char* text) {
    return std::get<SyntheticRouting>(parse_routing_trace_spec(text, "--routing-trace"));
}

std::vector<std::uint16_t> token(RoutingTrace& trace, std::uint32_t layer, std::uint32_t position) {
    const auto experts = trace.experts(layer, position);
    return {experts.begin(), experts.end()};
}

std::string refusal(const char* text) {
    try {
        parse_routing_trace_spec(text, "--routing-trace");
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUsage);
        EXPECT_EQ(error.where(), "--routing-trace");
        return error.message();
    }
    return "";
}

TEST(RoutingTraceSpec, ReadsWhatItSays) {
    EXPECT_EQ(synthetic("uniform").skew, 0);
    EXPECT_EQ(synthetic("uniform").reuse, 0);
    EXPECT_EQ(synthetic("uniform,reuse:0.3").reuse, 0.3);
    const SyntheticRouting all = synthetic("zipf:1.25,reuse:0.6,seed:18446744073709551615");
    EXPECT_EQ(all.skew, 1.25);
    EXPECT_EQ(all.reuse, 0.6);
    EXPECT_EQ(all.seed, ~std::uint64_t{0});
    EXPECT_EQ(synthetic("zipf:1,seed:7,reuse:0").seed, 7u);
    for (const char* path : {"routes.bin", "./uniform", "/a/zipf:1", "zipfel", "a,b:c", "uniformly"})
        EXPECT_EQ(std::get<std::string>(parse_routing_trace_spec(path, "x")), path);
}

TEST(RoutingTraceSpec, AnythingElseIsUsage) {
    for (const char* text : {"",
                             "zipf",
                             "zipf:",
                             "zipf:x",
                             "zipf:-1",
                             "zipf:11",
                             "zipf:nan",
                             "zipf:inf",
                             "zipf:1,",
                             "zipf:1,,seed:1",
                             "zipf:1 ",
                             "zipf:1,reuse",
                             "zipf:1,reuse:1",
                             "zipf:1,reuse:-0.1",
                             "zipf:1,reuse:nan",
                             "zipf:1,seed:-1",
                             "zipf:1,seed:1.5",
                             "zipf:1,seed:18446744073709551616",
                             "zipf:1,zipf:2",
                             "zipf:1,reuse:0.1,reuse:0.1",
                             "uniform:1",
                             "uniform,",
                             "uniform,zipf:1",
                             "uniform,color:red",
                             "zipf,reuse:0.5"})
        EXPECT_NE(refusal(text).find("expected"), std::string::npos) << text;
    EXPECT_NE(refusal("zipf:1,color:red").find("found color:red"), std::string::npos);
    EXPECT_NE(refusal("zipf:1,reuse:2").find("expected a reuse of 0 to 0.999, found 2"), std::string::npos);
}

TEST(RoutingTrace, IsTheSameInAnyOrder) {
    const HyperParameters shape = hyper();
    RoutingTrace forward(shape, synthetic("zipf:1,reuse:0.6")), random(shape, synthetic("zipf:1,reuse:0.6"));
    std::vector<std::vector<std::uint16_t>> expected;
    constexpr std::uint32_t kTokens = 2500;
    for (std::uint32_t position = 0; position < kTokens; ++position)
        for (std::uint32_t layer = 0; layer < 3; ++layer) expected.push_back(token(forward, layer, position));
    std::mt19937 order(1);
    for (int i = 0; i < 300; ++i) {
        const std::uint32_t position = order() % kTokens, layer = order() % 3;
        EXPECT_EQ(token(random, layer, position), expected[position * 3 + layer]) << position << " " << layer;
    }
    RoutingTrace copy = random;
    EXPECT_EQ(token(copy, 1, 77), expected[77 * 3 + 1]);
    token(random, 0, ~0u);  // the last one there is, at once
}

TEST(RoutingTrace, SeedsLayersAndStretchesDiffer) {
    RoutingTrace one(hyper(), synthetic("uniform")), other(hyper(), synthetic("uniform,seed:2"));
    int same_seed = 0, same_layer = 0, same_stretch = 0;
    for (std::uint32_t position = 0; position < 100; ++position) {
        same_seed += token(one, 0, position) == token(other, 0, position);
        same_layer += token(one, 0, position) == token(one, 1, position);
        same_stretch += token(one, 0, position) == token(one, 0, position + 1024);
    }
    EXPECT_EQ(same_seed + same_layer + same_stretch, 0);
}

struct Measured {
    std::vector<double> use;
    double repeats = 0;
};

Measured measure(RoutingTrace& trace, std::uint32_t layer, std::uint32_t n_expert, std::uint32_t n_tokens) {
    Measured measured{std::vector<double>(n_expert)};
    std::set<std::uint16_t> last;
    for (std::uint32_t position = 0; position < n_tokens; ++position) {
        const auto experts = token(trace, layer, position);
        const std::set<std::uint16_t> now(experts.begin(), experts.end());
        EXPECT_EQ(now.size(), trace.n_expert_used());
        EXPECT_LT(*now.rbegin(), n_expert);
        for (const std::uint16_t expert : now) {
            measured.use[expert] += 1.0 / n_tokens;
            measured.repeats += double(last.contains(expert)) / n_tokens / trace.n_expert_used();
        }
        last = now;
    }
    return measured;
}

TEST(RoutingTrace, SkewIsThePlanners) {
    const HyperParameters shape = hyper();
    for (const char* text : {"uniform", "zipf:1", "zipf:1,reuse:0.6", "zipf:0.5,reuse:0.9"}) {
        RoutingTrace trace(shape, synthetic(text));
        const Routing routing = skewed_routing(shape, synthetic(text).skew, synthetic(text).reuse);
        for (const std::uint32_t layer : {0u, 2u}) {
            const std::vector<double>& use = routing.use[layer + 2];
            const Measured measured = measure(trace, layer, 64, 100'000);
            EXPECT_EQ(std::ranges::max_element(measured.use) - measured.use.begin() ==
                          std::ranges::max_element(use) - use.begin(),
                      synthetic(text).skew > 0);
            // What the planner expects to hit on the n most frequent, n = 4, 8, 16, 32.
            std::vector<double> sorted(use);
            std::ranges::sort(sorted, std::greater<>());
            const HitTable table(sorted, 4);
            const auto order = by_frequency(use);
            for (const std::uint32_t n : {4u, 8u, 16u, 32u}) {
                double expected = 0, found = 0;
                for (std::uint32_t h = 0; h <= 4; ++h) expected += h * table.hits(n)[h];
                for (std::uint32_t i = 0; i < n; ++i) found += measured.use[order[i]];
                EXPECT_NEAR(found, expected, 0.02 * expected + 0.01) << text << ", " << n << " experts";
            }
        }
    }
}

TEST(RoutingTrace, ReuseIsTheShareKeptAndLittleComesByChance) {
    for (const double reuse : {0.0, 0.3, 0.6, 0.9}) {
        RoutingTrace trace(hyper(), SyntheticRouting{.skew = 0, .reuse = reuse});
        // Beside those kept, (1 - reuse) · 4 are drawn from 64.
        EXPECT_NEAR(measure(trace, 0, 64, 50'000).repeats, reuse + (1 - reuse) * 4 / 64 * (1 - reuse), 0.01);
    }
}

TEST(RoutingTrace, ExtremeShapesGiveDifferentExpertsToo) {
    for (const char* shape : {"lfm2moe,n_layer=2,n_expert=1,n_expert_used=1,n_layer_dense=1:F16",
                              "lfm2moe,n_layer=2,n_expert=8,n_expert_used=8,n_layer_dense=1:F16",
                              "lfm2moe,n_layer=2,n_expert=8,n_expert_used=7,n_layer_dense=1:F16",
                              "lfm2moe,n_layer=2,n_expert=256,n_expert_used=64,n_layer_dense=0:F16"})
        for (const char* text : {"uniform", "zipf:10", "zipf:3,reuse:0.999", "zipf:10,reuse:0.5"}) {
            const HyperParameters parameters = hyper(shape);
            RoutingTrace trace(parameters, synthetic(text));
            measure(trace, 0, parameters.n_expert, 50);
        }
    EXPECT_THROW(RoutingTrace(hyper("lfm2:F16"), SyntheticRouting{}), Error);
    EXPECT_THROW(RoutingTrace(hyper("lfm2moe,n_layer=2,n_layer_dense=2:F16"), SyntheticRouting{}), Error);
}

TEST(RoutingTrace, QueriesAllocateNothing) {
    RoutingTrace trace(hyper(), synthetic("zipf:1,reuse:0.6"));
    const AllocationCounter counter;
    std::uint32_t sum = 0;
    for (std::uint32_t position = 0; position < 3000; ++position) sum += trace.experts(1, position)[0];
    EXPECT_EQ(counter.calls(), 0u) << sum;
}

TEST(RoutingTrace, ASessionUsesIt) {
    Ledger ledger;
    const ModelDescription description = describe_shape(
        "lfm2moe,n_layer=3,n_embd=64,n_head=2,n_ff=96,n_ff_exp=64,n_expert=16,n_expert_used=2,n_layer_dense=1,"
        "n_vocab=64:F32");
    const Model model = Model::random(description, make_host_plan(description, {}), 7, ledger);
    Session session(model, {.n_ctx = 32, .n_batch = 8}, ledger);
    RoutingTrace trace(description.hyper, synthetic("zipf:1,reuse:0.6"));
    session.force_experts(trace);
    for (const std::uint32_t n : {8u, 1u, 5u}) {
        const std::uint32_t first = session.position();
        session.append(std::vector<std::int32_t>(n, 5));
        for (std::uint32_t layer = 0; layer < 2; ++layer)
            for (std::uint32_t i = 0; i < n * 2; ++i)
                EXPECT_EQ(session.last_experts(layer)[i], trace(layer, first + i / 2, i % 2));
    }
}

RecordedRouting recorded(std::uint32_t n_tokens) {
    RecordedRouting routing = make_recorded_routing(hyper());
    RoutingTrace trace(hyper(), synthetic("zipf:1,reuse:0.6"));
    for (std::uint32_t position = 0; position < n_tokens; ++position)
        for (std::uint32_t layer = 0; layer < 3; ++layer) {
            const auto experts = trace.experts(layer, position);
            routing.choices.insert(routing.choices.end(), experts.begin(), experts.end());
        }
    return routing;
}

TEST(RecordedRouting, GoesOutAndInAndBeginsAgain) {
    ScratchDir dir;
    std::ofstream(dir.file("routes"), std::ios::binary) << routing_trace_bytes(recorded(10));
    RoutingTrace trace = RoutingTrace::open(dir.file("routes"), hyper());
    RoutingTrace original(hyper(), synthetic("zipf:1,reuse:0.6"));
    for (std::uint32_t position = 0; position < 25; ++position)
        for (std::uint32_t layer = 0; layer < 3; ++layer)
            EXPECT_EQ(token(trace, layer, position), token(original, layer, position % 10));
}

/// The message, or "" when the bytes are accepted.
std::string file_refusal(const std::string& bytes, const HyperParameters& model = hyper()) {
    try {
        parse_routing_trace(bytes, "bad.trace", model);
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput) << error.what();
        EXPECT_EQ(error.where(), "bad.trace");
        return error.message();
    }
    return "";
}

TEST(RecordedRouting, DamagedFilesAreRefused) {
    const std::string sound = routing_trace_bytes(recorded(3));
    EXPECT_EQ(file_refusal(sound), "");
    for (std::size_t size = 0; size < sound.size(); ++size) ASSERT_NE(file_refusal(sound.substr(0, size)), "") << size;
    EXPECT_NE(file_refusal(sound + '\0'), "");
    EXPECT_NE(file_refusal(sound + std::string(24, '\0')), "");
    for (std::size_t at = 0; at < sound.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            std::string edited = sound;
            edited[at] = static_cast<char>(edited[at] ^ (1 << bit));
            ASSERT_NE(file_refusal(edited), "") << at;
        }
    // Counts that wrap, or would allocate much.
    for (const std::uint64_t n_tokens : {std::uint64_t{1} << 61, ~std::uint64_t{0}, std::uint64_t{0}}) {
        std::string edited = sound;
        for (int i = 0; i < 8; ++i) edited[28 + i] = static_cast<char>(n_tokens >> (8 * i));
        const AllocationCounter counter;
        EXPECT_NE(file_refusal(edited).find("n_tokens: expected"), std::string::npos);
        EXPECT_LT(counter.peak_bytes(), 1u << 16);
    }
    std::string version = sound;
    version[8] = 2;
    EXPECT_NE(file_refusal(version).find("version: expected 1"), std::string::npos);
}

TEST(RecordedRouting, AnotherModelsOrImpossibleChoicesAreNamed) {
    const std::string sound = routing_trace_bytes(recorded(3));
    EXPECT_NE(file_refusal(sound, hyper("lfm2moe,n_layer=6,n_expert=64,n_expert_used=4,n_layer_dense=2:F16"))
                  .find("n_layer: expected 6, as this model has, found 5"),
              std::string::npos);
    EXPECT_NE(file_refusal(sound, hyper("lfm2moe,n_layer=5,n_expert=32,n_expert_used=4,n_layer_dense=2:F16"))
                  .find("n_expert: expected 32"),
              std::string::npos);
    RecordedRouting routing = recorded(3);
    routing.choices[17] = 64;
    EXPECT_NE(
        file_refusal(routing_trace_bytes(routing)).find("token 1, MoE layer 1: expected experts of 0 to 63, found 64"),
        std::string::npos);
    routing.choices[17] = routing.choices[18];
    EXPECT_NE(file_refusal(routing_trace_bytes(routing)).find("token 1, MoE layer 1: expected different experts"),
              std::string::npos);
    EXPECT_NE(file_refusal(routing_trace_bytes(make_recorded_routing(hyper()))).find("n_tokens: expected at least 1"),
              std::string::npos);
    EXPECT_THROW(RoutingTrace(make_recorded_routing(hyper())), Error);
}

TEST(RecordedRouting, WhatIsNoFileIsSaidAtOnce) {
    ScratchDir dir;
    ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
    std::ofstream(dir.file("empty"));
    const auto code = [&](const std::string& path) {
        try {
            RoutingTrace::open(path, hyper());
        } catch (const Error& error) {
            return error.code();
        }
        return ErrorCode::kUsage;
    };
    EXPECT_EQ(code(dir.file("missing")), ErrorCode::kIo);
    EXPECT_EQ(code(dir.file("pipe")), ErrorCode::kIo);
    EXPECT_EQ(code(dir.file("")), ErrorCode::kIo);
    EXPECT_EQ(code(dir.file("empty")), ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace lfm::test
