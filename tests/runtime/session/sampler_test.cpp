#include "runtime/session/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "memory/error.h"
#include "runtime/session/sampling_defaults.h"
#include "tests/allocation_counter.h"

namespace lfm {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplingParams greedy() { return {.temperature = 0}; }

std::int32_t sample_once(const SamplingParams& params, const std::vector<float>& logits,
                         const std::vector<std::int32_t>& accepted = {}) {
    Sampler sampler(params, static_cast<std::uint32_t>(logits.size()));
    for (const std::int32_t token : accepted) sampler.accept(token);
    return sampler.sample(logits);
}

std::map<std::int32_t, int> count_draws(const SamplingParams& params, const std::vector<float>& logits, int n_draws) {
    Sampler sampler(params, static_cast<std::uint32_t>(logits.size()));
    std::map<std::int32_t, int> counts;
    for (int i = 0; i < n_draws; ++i) ++counts[sampler.sample(logits)];
    return counts;
}

std::set<std::int32_t> drawn_ids(const SamplingParams& params, const std::vector<float>& logits, int n_draws) {
    std::set<std::int32_t> ids;
    for (const auto& [id, count] : count_draws(params, logits, n_draws)) ids.insert(id);
    return ids;
}

std::vector<float> random_logits(std::size_t n, float spread, std::mt19937& random) {
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> logits(n);
    for (float& logit : logits) logit = normal(random);
    return logits;
}

/// Top-k, top-p and min-p by their definitions, in double, with a full sort.
std::set<std::int32_t> reference_set(const SamplingParams& params, const std::vector<float>& logits) {
    std::vector<std::int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto logit = [&](std::int32_t id) { return double(logits[static_cast<std::size_t>(id)]); };
    std::ranges::stable_sort(ids, [&](auto a, auto b) { return logit(a) > logit(b); });
    if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < ids.size())
        ids.resize(static_cast<std::size_t>(params.top_k));
    double total = 0;
    for (const auto id : ids) total += std::exp(logit(id));
    std::set<std::int32_t> kept;
    double sum = 0;
    for (const auto id : ids) {
        if (std::exp(logit(id)) >= params.min_p * std::exp(logit(ids[0]))) kept.insert(id);
        sum += std::exp(logit(id)) / total;
        if (params.top_p < 1 && sum >= params.top_p) break;
    }
    return kept;
}

TEST(Sampler, GreedyTakesTheBestAndTheLowestIdOnATie) {
    EXPECT_EQ(sample_once(greedy(), {1, 3, 2}), 1);
    EXPECT_EQ(sample_once(greedy(), {1, 3, 3, 3}), 1);
    EXPECT_EQ(sample_once(greedy(), {kNan, -5, kNan, -7}), 1);
    EXPECT_EQ(sample_once({.temperature = -1}, {1, 2}), 1);
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesOtherLogits) {
    SamplingParams params = greedy();
    params.repeat_penalty = 2;
    EXPECT_EQ(sample_once(params, {2, 1.5f}, {0}), 1);
    EXPECT_EQ(sample_once(params, {-1, -1.5f}, {0}), 1);
    EXPECT_EQ(sample_once(params, {2, 0.9f}, {0, 0, 0}), 0) << "a token seen thrice is penalised once";
    EXPECT_EQ(sample_once(params, {kNan, -9}, {0}), 1);
}

TEST(Sampler, RepeatPenaltyForgetsTokensOutsideItsWindow) {
    SamplingParams params = greedy();
    params.repeat_penalty = 2;
    params.repeat_last_n = 2;
    EXPECT_EQ(sample_once(params, {3, 2, 2, 2}, {0, 1}), 2);
    EXPECT_EQ(sample_once(params, {3, 2, 2, 2}, {0, 1, 2}), 0);
    EXPECT_EQ(sample_once(params, {3, 2, 2, 2}, {1, 2, 1, 0}), 2);
    params.repeat_last_n = 0;
    EXPECT_EQ(sample_once(params, {3, 2}, {0}), 0);
}

TEST(Sampler, DrawsFollowTheTemperedSoftmax) {
    const std::vector<float> logits{0, 1, 2, -1, 0.5f};
    constexpr int kDraws = 200'000;
    for (const float temperature : {0.5f, 1.0f, 2.0f}) {
        const auto counts = count_draws({.temperature = temperature, .seed = 7}, logits, kDraws);
        double total = 0;
        for (const float logit : logits) total += std::exp(logit / temperature);
        double chi_square = 0;
        for (std::size_t id = 0; id < logits.size(); ++id) {
            const double expected = kDraws * std::exp(logits[id] / temperature) / total;
            const auto found = counts.find(static_cast<std::int32_t>(id));
            const double off = (found == counts.end() ? 0 : found->second) - expected;
            chi_square += off * off / expected;
        }
        EXPECT_LT(chi_square, 23.5) << "four degrees of freedom: one in 10 000; temperature " << temperature;
    }
}

TEST(Sampler, KeepsTheSetsOfTheDefinitions) {
    std::mt19937 random(3);
    for (int round = 0; round < 300; ++round) {
        const std::size_t n_vocab = 2 + random() % 12;
        // So hot that every kept token turns up.
        SamplingParams params{.temperature = 1e4f, .seed = random()};
        if (random() % 2) params.top_k = static_cast<int>(random() % 14);
        if (random() % 2) params.top_p = static_cast<float>(random() % 1001) / 1000;
        if (random() % 2) params.min_p = static_cast<float>(random() % 1001) / 1000;
        const auto logits = random_logits(n_vocab, 1.5f, random);
        EXPECT_EQ(drawn_ids(params, logits, 500), reference_set(params, logits))
            << "top_k " << params.top_k << " top_p " << params.top_p << " min_p " << params.min_p;
    }
}

TEST(Sampler, TopPSortsAsFarAsItMustInALargeVocabulary) {
    std::mt19937 random(4);
    const auto logits = random_logits(300, 0.5f, random);
    for (const float top_p : {0.05f, 0.2f, 0.6f, 0.95f}) {
        const SamplingParams params{.temperature = 1e4f, .top_p = top_p};
        EXPECT_EQ(drawn_ids(params, logits, 8'000), reference_set(params, logits)) << top_p;
    }
}

/// As tokens of a real vocabulary: most are told apart 64 at a time. Many logits are equal.
TEST(Sampler, LargeVocabulariesKeepTheSameSets) {
    std::mt19937 random(6);
    for (int round = 0; round < 60; ++round) {
        std::vector<float> logits = random_logits(64 * (1 + random() % 40) + random() % 64, 2, random);
        for (float& logit : logits) logit = std::round(logit * 16) / 16;
        SamplingParams params{.temperature = 1e4f, .seed = random()};
        params.top_k = static_cast<int>(1 + random() % 50);
        if (random() % 2) params.top_p = 0.7f;
        if (random() % 2) params.min_p = 0.1f;
        EXPECT_EQ(drawn_ids(params, logits, 2'000), reference_set(params, logits))
            << logits.size() << " top_k " << params.top_k << " top_p " << params.top_p << " min_p " << params.min_p;
    }
}

TEST(Sampler, GreedyFindsTheFirstOfTheBestAmongNan) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        std::vector<float> logits = random_logits(1 + random() % 1000, 1, random);
        for (std::size_t i = 0; i < logits.size(); i += 1 + random() % 5) logits[i] = kNan;
        std::size_t best = random() % logits.size();
        logits[best] = 9;
        logits[random() % logits.size()] = 9;
        best = static_cast<std::size_t>(std::ranges::find(logits, 9.0f) - logits.begin());
        EXPECT_EQ(sample_once(greedy(), logits), static_cast<std::int32_t>(best)) << logits.size();
    }
}

TEST(Sampler, SameSeedSameTokens) {
    std::mt19937 random(5);
    const auto logits = random_logits(100, 1, random);
    std::vector<std::vector<std::int32_t>> runs;
    for (const std::uint64_t seed : {1, 1, 2}) {
        Sampler sampler({.temperature = 1, .seed = seed}, 100);
        auto& run = runs.emplace_back();
        for (int i = 0; i < 50; ++i) run.push_back(sampler.sample(logits));
    }
    EXPECT_EQ(runs[0], runs[1]);
    EXPECT_NE(runs[0], runs[2]);
}

TEST(Sampler, TheDrawIsTheSameOnEveryPlatform) {
    // mt19937_64 seeded with 5489 begins with 14514284786278117030 = 0.78682… · 2^64 (C++ standard, [rand.predef]).
    EXPECT_EQ(sample_once({.temperature = 1, .seed = 5489}, std::vector<float>(1000, 0.0f)), 786);
}

TEST(Sampler, TakesInfiniteLogits) {
    const SamplingParams params{.temperature = 0.7f, .top_p = 0.99f, .min_p = 0.1f};
    EXPECT_EQ(drawn_ids(params, {5, kInf, -kInf, kNan}, 100), (std::set<std::int32_t>{1}));
    EXPECT_EQ(drawn_ids(params, {kInf, 3, kInf, -kInf}, 100), (std::set<std::int32_t>{0, 2}));
    EXPECT_EQ(drawn_ids({.temperature = 1e30f}, {-kInf, 1, kNan, 2}, 100), (std::set<std::int32_t>{1, 3}));
    EXPECT_EQ(drawn_ids({.temperature = 1e-40f}, {1, 2, 1.999f}, 100), (std::set<std::int32_t>{1}));
}

TEST(Sampler, RefusesWhatCannotBeSampled) {
    EXPECT_THROW(sample_once({}, {kNan, -kInf}), Error);
    EXPECT_THROW(sample_once(greedy(), {-kInf}), Error);
    Sampler sampler(greedy(), 3);
    EXPECT_THROW(sampler.sample(std::vector<float>(2)), Error);
    EXPECT_THROW(sampler.accept(3), Error);
    EXPECT_THROW(sampler.accept(-1), Error);
    EXPECT_THROW(Sampler({}, 0).sample({}), Error);
}

TEST(Sampler, AllocatesNothingAfterConstruction) {
    std::mt19937 random(6);
    const auto logits = random_logits(5000, 1, random);
    Sampler sampler({.temperature = 1, .top_k = 3000, .top_p = 0.9f, .min_p = 0.01f, .repeat_penalty = 1.1f}, 5000);
    const test::AllocationCounter counter;
    for (int i = 0; i < 200; ++i) sampler.accept(sampler.sample(logits));
    EXPECT_EQ(counter.calls(), 0u);
}

TEST(SamplingParams, ErrorsNameTheOption) {
    const auto message = [](const SamplingParams& params) -> std::string {
        try {
            validate(params);
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kUsage);
            return error.what();
        }
        return "fine";
    };
    EXPECT_EQ(message({.top_p = 1.5f}), "--top-p: expected 0 to 1, found 1.5");
    EXPECT_EQ(message({.temperature = kNan}), "--temp: expected a finite number, found nan");
    EXPECT_EQ(message({.temperature = kInf}), "--temp: expected a finite number, found inf");
    EXPECT_EQ(message({.top_k = -1}), "--top-k: expected 0 (off) or more, found -1");
    EXPECT_EQ(message({.min_p = -0.5f}), "--min-p: expected 0 to 1, found -0.5");
    EXPECT_EQ(message({.repeat_penalty = 0}), "--repeat-penalty: expected a finite number above 0, found 0");
    EXPECT_EQ(message({.repeat_last_n = -1}), "--repeat-last-n: expected 0 to 1048576, found -1");
    EXPECT_EQ(message({.temperature = -1, .top_k = 0, .top_p = 0, .min_p = 1}), "fine");
}

TEST(SamplingDefaults, FollowTheModelsName) {
    struct Case {
        const char* name;
        float temperature;
        int top_k;
        float min_p;
    };
    for (const Case& c : {Case{"LFM2-24B-A2B", 0.1f, 50, 0},
                          {"LFM2.5 1.2B Instruct", 0.1f, 50, 0},
                          {"LFM2.5-8B-A1B", 0.2f, 80, 0},
                          {"Lfm2 1.2B", 0.3f, 0, 0.15f},
                          {"LFM2-8B-A1B", 0.3f, 0, 0.15f},
                          {"lfm2.5_1.2b_thinking", 0.05f, 50, 0},
                          {"LFM2.5 2.6B", 0.2f, 80, 0},
                          {"LFM2 2.6B", 0.3f, 0, 0.15f},
                          {"LFM2.5-230M", 0.1f, 50, 0},
                          {"LFM2.5--350m ", 0.1f, 50, 0},
                          {"LFM2-VL-1.6B", 0.1f, 0, 0.15f},
                          {"LFM2.5 VL 1.6B", 0.1f, 0, 0.15f},
                          {"", 0.3f, 0, 0.15f},
                          {"Some 24B", 0.3f, 0, 0.15f},
                          {"LFM2-24Beta", 0.3f, 0, 0.15f}}) {
        const SamplingParams params = recommended_sampling(c.name);
        EXPECT_EQ(params.temperature, c.temperature) << c.name;
        EXPECT_EQ(params.top_k, c.top_k) << c.name;
        EXPECT_EQ(params.min_p, c.min_p) << c.name;
        EXPECT_EQ(params.repeat_penalty, 1.05f) << c.name;
        EXPECT_EQ(params.top_p, 1) << c.name;
    }
}

TEST(SamplingDefaults, TheFileWins) {
    const SamplingParams params = recommended_sampling(
        "LFM2-24B-A2B",
        {.temperature = 0.5f, .top_k = {}, .top_p = 0.9f, .min_p = 0.2f, .repeat_penalty = 1.2f, .repeat_last_n = 32});
    EXPECT_EQ(params.temperature, 0.5f);
    EXPECT_EQ(params.top_k, 50);
    EXPECT_EQ(params.top_p, 0.9f);
    EXPECT_EQ(params.min_p, 0.2f);
    EXPECT_EQ(params.repeat_penalty, 1.2f);
    EXPECT_EQ(params.repeat_last_n, 32);
    try {
        FileSampling file;
        file.min_p = 3;
        recommended_sampling("LFM2", file);
        FAIL() << "expected an error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidModel);
        EXPECT_STREQ(error.what(), "general.sampling.min_p: expected 0 to 1, found 3");
    }
}

}  // namespace
}  // namespace lfm
