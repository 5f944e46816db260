// Which experts the slots hold: nearly as good as the best choice in hindsight, few fetches where nothing can be
// gained, and consistent whatever happens to slots and pins.
#include "runtime/experts/expert_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <set>

#include "memory/error.h"
#include "planner/model/routing.h"
#include "planner/model/shape.h"
#include "runtime/experts/routing_trace.h"
#include "tests/allocation_counter.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kExperts = 64, kUsed = 4;

const HyperParameters& hyper() {
    static const HyperParameters parameters =
        describe_shape("lfm2moe,n_layer=5,n_expert=64,n_expert_used=4,n_layer_dense=1:F16").hyper;
    return parameters;
}

using Tokens = std::vector<std::vector<std::uint16_t>>;

Tokens tokens(const SyntheticRouting& routing, std::uint32_t n, std::uint32_t moe_layer = 0) {
    RoutingTrace trace(hyper(), routing);
    Tokens result;
    for (std::uint32_t position = 0; position < n; ++position) {
        const auto experts = trace.experts(moe_layer, position);
        result.emplace_back(experts.begin(), experts.end());
    }
    return result;
}

/// The hit rate when the first n_pinned experts of `order` are pinned and an LRU cache has the rest of the capacity.
double static_and_lru(const Tokens& tokens, const std::vector<std::uint32_t>& order, std::size_t n_pinned,
                      std::size_t capacity) {
    std::vector<char> pinned(kExperts);
    for (std::size_t i = 0; i < n_pinned; ++i) pinned[order[i]] = 1;
    std::list<std::uint16_t> lru;  // the latest first
    for (std::size_t i = n_pinned; i < capacity; ++i) lru.push_back(static_cast<std::uint16_t>(order[i]));
    std::size_t hits = 0;
    for (const auto& token : tokens) {
        for (const std::uint16_t expert : token) hits += pinned[expert] || std::ranges::find(lru, expert) != lru.end();
        for (const std::uint16_t expert : token) {
            if (pinned[expert]) continue;
            std::erase(lru, expert);
            lru.push_front(expert);
            if (lru.size() > capacity - n_pinned) lru.pop_back();
        }
    }
    return static_cast<double>(hits) / static_cast<double>(tokens.size() * kUsed);
}

std::vector<std::uint32_t> order_of(const Tokens& tokens) {
    std::vector<double> counts(kExperts);
    for (const auto& token : tokens)
        for (const std::uint16_t expert : token) ++counts[expert];
    return by_frequency(counts);
}

CacheLayer layer_with(std::vector<double> use, std::uint32_t n_pinned, std::uint32_t n_slots) {
    CacheLayer layer{std::move(use), {}, n_slots};
    const auto order = by_frequency(layer.use);
    layer.pinned.assign(order.begin(), order.begin() + n_pinned);
    return layer;
}

std::vector<double> uniform_use() { return std::vector<double>(kExperts, double(kUsed) / kExperts); }

ExpertCache::Changes step(ExpertCache& cache, std::uint32_t moe_layer, const std::vector<std::uint16_t>& token) {
    std::vector<ExpertUse> uses;
    for (const std::uint16_t expert : token) uses.push_back({expert, 1});
    cache.add_uses(moe_layer, uses);
    return cache.end_step(1);
}

void play(ExpertCache& cache, const Tokens& tokens) {
    for (const auto& token : tokens) step(cache, 0, token);
}

TEST(ExpertCache, HitsAsOftenAsTheBestChoiceOfPinsAndLruMadeAfterwards) {
    const SyntheticRouting routing{.skew = 1, .reuse = 0.6};
    for (const std::uint64_t seed : {1u, 2u}) {
        const Tokens trace = tokens({routing.skew, routing.reuse, seed}, 4000);
        const auto order = order_of(trace);
        for (const std::uint32_t capacity : {4u, 8u, 16u, 33u, 48u}) {
            double best = 0;
            std::uint32_t best_pins = 0;
            for (std::uint32_t pins = 0; pins <= capacity; ++pins) {
                const double rate = static_and_lru(trace, order, pins, capacity);
                if (rate > best) best = rate, best_pins = pins;
            }
            for (const bool known : {true, false}) {
                std::set<std::uint32_t> pins{0, capacity - kUsed};
                if (capacity > 4) pins.insert(capacity / 2);
                for (const std::uint32_t n_pinned : pins) {
                    // Pins follow the true frequencies; the slots may start from wrong ones.
                    CacheLayer layer = layer_with(skewed_routing(hyper(), 1, 0).use[1], n_pinned, capacity - n_pinned);
                    if (!known) layer.use = uniform_use();
                    ExpertCache cache({layer}, {.hit_seconds = 1, .fetch_seconds = 0.3, .most_fetches = 8});
                    play(cache, trace);
                    EXPECT_GE(cache.hits().rate(), 0.9 * best)
                        << capacity << " experts, " << n_pinned << " pinned; best with " << best_pins;
                    EXPECT_EQ(cache.hits().total(), trace.size() * kUsed);
                }
            }
        }
    }
}

struct Costs {
    double hit, miss, fetch;  // seconds
};

double seconds(const CacheHits& hits, std::uint64_t n_fetches, const Costs& costs) {
    return static_cast<double>(hits.pinned + hits.cached) * costs.hit + static_cast<double>(hits.missed) * costs.miss +
           static_cast<double>(n_fetches) * costs.fetch;
}

TEST(ExpertCache, UniformRoutingIsNotSlowerThanAStaticSplit) {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        const Tokens trace = tokens({0, 0, seed}, 10'000);
        for (const double fetch : {0.0, 20e-6, 100e-6, 440e-6}) {
            const Costs costs{18e-6, 106e-6, fetch};
            for (const std::uint32_t n_slots : {4u, 16u, 33u}) {
                const CacheLayer layer = layer_with(uniform_use(), 16, n_slots);
                ExpertCacheOptions options{
                    .hit_seconds = costs.miss - costs.hit, .fetch_seconds = costs.fetch, .most_fetches = 4};
                ExpertCache cache({layer}, options);
                options.most_fetches = 0;
                ExpertCache fixed({layer}, options);
                play(cache, trace);
                play(fixed, trace);
                EXPECT_EQ(fixed.n_fetches(), 0u);
                EXPECT_LT(double(cache.n_fetches()) / double(trace.size()), fetch > 0 ? 0.01 : 0.3)
                    << fetch << " s a fetch, " << n_slots << " slots";
                EXPECT_LE(seconds(cache.hits(), cache.n_fetches(), costs), 1.01 * seconds(fixed.hits(), 0, costs));
            }
        }
    }
}

TEST(ExpertCache, SkewAndReuseAreNeverMuchSlowerThanAStaticSplitWhateverAFetchCosts) {
    const Tokens trace = tokens({1, 0.6, 1}, 10'000);
    for (const double fetch : {0.1, 0.3, 1.0, 3.0, 10.0}) {
        const Costs costs{0.2, 1.2, fetch};
        for (const std::uint32_t n_slots : {4u, 16u}) {
            const CacheLayer layer = layer_with(skewed_routing(hyper(), 1, 0).use[1], 8, n_slots);
            ExpertCacheOptions options{.hit_seconds = 1, .fetch_seconds = fetch, .most_fetches = 4};
            ExpertCache cache({layer}, options);
            options.most_fetches = 0;
            ExpertCache fixed({layer}, options);
            play(cache, trace);
            play(fixed, trace);
            EXPECT_LE(seconds(cache.hits(), cache.n_fetches(), costs), 1.01 * seconds(fixed.hits(), 0, costs)) << fetch;
            if (fetch <= 0.3) {
                EXPECT_LT(seconds(cache.hits(), cache.n_fetches(), costs), 0.9 * seconds(fixed.hits(), 0, costs));
            }
        }
    }
}

TEST(ExpertCache, AShiftInMidTraceIsFollowed) {
    // Another layer's experts, whose order by frequency is different.
    for (const double fetch : {0.3, 5.0}) {
        Tokens trace = tokens({1, 0.3, 1}, 4000, 0);
        const Tokens after = tokens({1, 0.3, 1}, 4000, 3);
        trace.insert(trace.end(), after.begin(), after.end());
        const CacheLayer layer = layer_with(skewed_routing(hyper(), 1, 0).use[1], 0, 16);
        ExpertCache cache({layer}, {.hit_seconds = 1, .fetch_seconds = fetch, .most_fetches = 2, .window = 500});
        double before = 0, worst = 1;
        for (std::size_t i = 0; i < trace.size(); ++i) {
            step(cache, 0, trace[i]);
            if (i == 3999) before = cache.recent_hits().rate();
            if (i >= 4000) worst = std::min(worst, cache.recent_hits().rate());
        }
        EXPECT_GT(before, 0.7);
        EXPECT_LT(worst, before - 0.03);  // the shift has an effect
        EXPECT_GT(cache.recent_hits().rate(), before - 0.05) << fetch;
        // A cache that keeps the experts that were frequent before the shift.
        ExpertCache fixed({layer}, {.hit_seconds = 1, .window = 500});
        play(fixed, trace);
        EXPECT_GT(cache.recent_hits().rate(), fixed.recent_hits().rate() + 0.1);
    }
}

TEST(ExpertCache, FetchesAreThereAfterAFixedNumberOfSteps) {
    for (const std::uint32_t visible_after : {1u, 2u, 5u}) {
        ExpertCache cache({{std::vector<double>{1, 0.4, 0.3, 0.2, 0.1}, {}, 1}},
                          {.hit_seconds = 1, .fetch_seconds = 1, .most_fetches = 4, .visible_after = visible_after});
        EXPECT_EQ(cache.slot_of(0, 0), 0u);
        // Expert 3 alone from now on: it takes the place of 0.
        std::uint64_t begun_in = 0;
        while (cache.n_fetches() == 0) {
            const auto changes = step(cache, 0, {3});
            if (changes.begun.empty()) continue;
            begun_in = cache.step() - 1;
            EXPECT_EQ(changes.begun[0].expert, 3u);
            EXPECT_EQ(changes.begun[0].evicted, 0);
            EXPECT_EQ(changes.begun[0].slot, 0u);
            EXPECT_GT(changes.begun[0].gain, 0);
            EXPECT_EQ(changes.arrived.size(), visible_after == 1 ? 1u : 0u);
            ASSERT_LT(begun_in, 100u);
        }
        EXPECT_EQ(cache.slot_of(0, 0), std::nullopt);  // it left at once
        while (cache.step() < begun_in + visible_after) {
            EXPECT_EQ(cache.slot_of(0, 3), std::nullopt);
            const auto missed = cache.hits().missed;
            const auto changes = step(cache, 0, {3});
            EXPECT_EQ(cache.hits().missed, missed + 1);
            EXPECT_TRUE(changes.begun.empty());  // an expert that is being fetched is not evicted
            ASSERT_EQ(changes.arrived.size(), cache.step() == begun_in + visible_after ? 1u : 0u);
            if (!changes.arrived.empty()) {
                EXPECT_EQ(changes.arrived[0].expert, 3u);
            }
        }
        EXPECT_EQ(cache.slot_of(0, 3), 0u);
        const auto cached = cache.hits().cached;
        step(cache, 0, {3});
        EXPECT_EQ(cache.hits().cached, cached + 1);
    }
}

TEST(ExpertCache, SlotsStartWithTheNextMostFrequent) {
    const ExpertCache cache({{{0.1, 0.9, 0.4, 0.3, 0.2, 0.4}, {1, 3}, 2}}, {});
    EXPECT_TRUE(cache.is_pinned(0, 1));
    EXPECT_FALSE(cache.is_pinned(0, 2));
    EXPECT_EQ(cache.slot_of(0, 2), 0u);
    EXPECT_EQ(cache.slot_of(0, 5), 1u);
    for (const std::uint16_t expert : {0, 1, 3, 4}) EXPECT_EQ(cache.slot_of(0, expert), std::nullopt);
}

TEST(ExpertCache, NoMoreFetchesAStepThanAllowedAndTheBestOfAllLayers) {
    std::vector<CacheLayer> layers(4, layer_with(uniform_use(), 0, 16));
    ExpertCache cache(layers, {.hit_seconds = 1, .fetch_seconds = 0.1, .most_fetches = 3});
    std::vector<Tokens> traces;
    for (std::uint32_t layer = 0; layer < 4; ++layer) traces.push_back(tokens({1, 0.6, 1}, 500, layer));
    std::uint64_t most = 0, sum = 0;
    std::set<std::uint32_t> seen;
    for (std::size_t position = 0; position < 500; ++position) {
        for (std::uint32_t layer = 0; layer < 4; ++layer) {
            std::vector<ExpertUse> uses;
            for (const std::uint16_t expert : traces[layer][position]) uses.push_back({expert, 1});
            cache.add_uses(layer, uses);
        }
        const auto begun = cache.end_step(1).begun;
        most = std::max<std::uint64_t>(most, begun.size());
        sum += begun.size();
        for (std::size_t i = 0; i < begun.size(); ++i) {
            seen.insert(begun[i].moe_layer);
            if (i > 0) {
                EXPECT_GE(begun[i - 1].gain, begun[i].gain);
            }
        }
    }
    EXPECT_EQ(most, 3u);
    EXPECT_EQ(cache.n_fetches(), sum);
    EXPECT_EQ(seen.size(), 4u);
}

TEST(ExpertCache, HintsBringExpertsThatPlainRecencyDoesNot) {
    // Random groups of four, announced a step ahead: no skew and no reuse, but known.
    const auto play_hinted = [](int percent_right) {
        ExpertCache cache({layer_with(uniform_use(), 0, 8)},
                          {.hit_seconds = 1, .fetch_seconds = 0.3, .most_fetches = 8});
        std::mt19937 random(5);
        const auto group = [&](std::uint32_t number) {
            std::vector<std::uint16_t> experts;
            for (std::uint32_t i = 0; i < kUsed; ++i)
                experts.push_back(static_cast<std::uint16_t>(number * 17 % 16 * kUsed + i));
            return experts;
        };
        std::uint32_t next = random() % 16;
        for (int i = 0; i < 1000; ++i) {
            const std::uint32_t now = next;
            next = random() % 16;
            if (percent_right >= 0)
                cache.hint(0, group(static_cast<int>(random() % 100) < percent_right ? next : random() % 16));
            step(cache, 0, group(now));
        }
        return cache;
    };
    EXPECT_LT(play_hinted(-1).hits().rate(), 0.3);
    EXPECT_GT(play_hinted(100).hits().rate(), 0.95);
    const ExpertCache wrong = play_hinted(0);  // hints that are right by chance only
    EXPECT_LT(double(wrong.n_fetches()), 0.1 * 4 * 1000);
}

TEST(ExpertCache, TheSameCallsGiveTheSameAnswers) {
    const auto run = [] {
        ExpertCache cache({layer_with(uniform_use(), 4, 12)},
                          {.hit_seconds = 1, .fetch_seconds = 0.2, .most_fetches = 2, .visible_after = 2});
        std::vector<std::uint32_t> log;
        for (const auto& token : tokens({0.8, 0.5, 9}, 2000))
            for (const ExpertFetch& fetch : step(cache, 0, token).begun) {
                log.push_back(fetch.slot);
                log.push_back(fetch.expert);
            }
        return log;
    };
    const auto first = run();
    EXPECT_GT(first.size(), 100u);
    EXPECT_EQ(run(), first);
}

void check(const ExpertCache& cache, const std::vector<std::uint32_t>& n_slots,
           const std::vector<std::set<std::uint16_t>>& pinned) {
    for (std::uint32_t layer = 0; layer < cache.n_layer(); ++layer) {
        ASSERT_EQ(cache.slots(layer).size(), n_slots[layer]);
        std::set<std::int32_t> held;
        for (std::uint32_t slot = 0; slot < cache.slots(layer).size(); ++slot) {
            const CacheSlot& content = cache.slots(layer)[slot];
            if (content.expert < 0) continue;
            const auto expert = static_cast<std::uint16_t>(content.expert);
            ASSERT_TRUE(held.insert(content.expert).second);
            ASSERT_FALSE(pinned[layer].contains(expert));
            ASSERT_EQ(cache.slot_of(layer, expert).has_value(), content.usable_from <= cache.step());
            if (content.usable_from <= cache.step()) {
                ASSERT_EQ(*cache.slot_of(layer, expert), slot);
            }
        }
        for (std::uint16_t expert = 0; expert < kExperts; ++expert) {
            ASSERT_EQ(cache.is_pinned(layer, expert), pinned[layer].contains(expert));
            if (!held.contains(expert)) {
                ASSERT_EQ(cache.slot_of(layer, expert), std::nullopt);
            }
        }
    }
}

TEST(ExpertCache, RandomChangesOfSlotsAndPinsKeepItSound) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
        const ExpertCacheOptions options{.hit_seconds = 1,
                                         .fetch_seconds = 0.1 * below(3),
                                         .most_fetches = below(6),
                                         .visible_after = 1 + below(4),
                                         .window = 1 + below(50)};
        std::vector<std::uint32_t> n_slots{16, 0, 40};
        std::vector<std::set<std::uint16_t>> pinned(3);
        ExpertCache cache(
            {layer_with(uniform_use(), 0, 16), layer_with(uniform_use(), 0, 0), layer_with(uniform_use(), 0, 40)},
            options);
        const Tokens trace = tokens({1, 0.5, seed}, 500);
        for (std::uint32_t i = 0; i < 500; ++i) {
            const std::uint32_t layer = below(3);
            if (below(10) == 0) cache.set_slots(layer, n_slots[layer] = below(kExperts + 1));
            if (below(20) == 0) {
                pinned[layer].clear();
                for (std::uint32_t n = below(30); n > 0; --n)
                    pinned[layer].insert(static_cast<std::uint16_t>(below(64)));
                cache.set_pinned(layer, std::vector<std::uint16_t>(pinned[layer].begin(), pinned[layer].end()));
            }
            check(cache, n_slots, pinned);
            const std::uint32_t n_tokens = below(5) == 0 ? 1 + below(100) : 1;
            for (std::uint32_t l = 0; l < 3; ++l) {
                std::vector<ExpertUse> uses;
                if (below(10) > 0)
                    for (const std::uint16_t expert : trace[(i + 7 * l) % 500]) uses.push_back({expert, n_tokens});
                cache.add_uses(l, uses);
                if (below(4) == 0) cache.hint(l, trace[(i + 1) % 500]);
            }
            const auto changes = cache.end_step(n_tokens);
            ASSERT_LE(changes.begun.size(), options.most_fetches);
            for (const ExpertFetch& fetch : changes.begun)
                ASSERT_EQ(cache.slots(fetch.moe_layer)[fetch.slot].expert, fetch.expert);
            for (const ExpertFetch& fetch : changes.arrived)
                ASSERT_EQ(cache.slot_of(fetch.moe_layer, fetch.expert), fetch.slot);
            check(cache, n_slots, pinned);
            ASSERT_LE(cache.recent_hits().total(), cache.hits().total());
        }
    }
}

TEST(ExpertCache, TheWindowCountsTheLastStepsOnly) {
    ExpertCache cache({{std::vector<double>(8, 0.25), {0}, 0}}, {.window = 3});
    for (int i = 0; i < 5; ++i) step(cache, 0, {0, 1});
    EXPECT_EQ(cache.hits().total(), 10u);
    EXPECT_EQ(cache.hits().rate(), 0.5);
    EXPECT_EQ(cache.recent_hits().total(), 6u);
    for (int i = 0; i < 3; ++i) step(cache, 0, {0});
    EXPECT_EQ(cache.recent_hits().rate(), 1);
    EXPECT_EQ(CacheHits{}.rate(), 0);
}

TEST(ExpertCache, StepsAllocateNothing) {
    ExpertCache cache({layer_with(uniform_use(), 4, 12), layer_with(uniform_use(), 4, 12)},
                      {.hit_seconds = 1, .fetch_seconds = 0.1, .most_fetches = 8});
    const Tokens trace = tokens({1, 0.6, 1}, 200);
    const AllocationCounter counter;
    for (const auto& token : trace) {
        ExpertUse uses[kUsed];
        for (std::size_t i = 0; i < kUsed; ++i) uses[i] = {token[i], 1};
        cache.add_uses(0, uses);
        cache.add_uses(1, uses);
        cache.hint(1, token);
        cache.end_step(1);
        cache.set_slots(1, 8 + cache.step() % 8);
    }
    EXPECT_EQ(counter.calls(), 0u);
    EXPECT_GT(cache.n_fetches(), 0u);
}

TEST(ExpertCache, ExpertsThatDoNotExistAreNamed) {
    const auto refused = [](const auto& call) {
        try {
            call();
        } catch (const Error& error) {
            return error.code() == ErrorCode::kInvalidInput ? std::string(error.what()) : std::string("code");
        }
        return std::string();
    };
    const CacheLayer eight{std::vector<double>(8, 0.25), {}, 2};
    EXPECT_NE(refused([&] {
                  ExpertCache({{eight.use, {8}, 0}}, {});
              }).find("expected 0 to 7, found 8"),
              std::string::npos);
    EXPECT_NE(refused([&] { ExpertCache({{eight.use, {3, 4, 3}, 0}}, {}); }).find("found 3 twice"), std::string::npos);
    ExpertCache cache({eight}, {});
    const ExpertUse unknown[] = {{8, 1}};
    EXPECT_NE(refused([&] { cache.add_uses(0, unknown); }), "");
    EXPECT_NE(refused([&] { cache.add_uses(0, std::vector<ExpertUse>(9, ExpertUse{1, 1})); }), "");
    const std::uint16_t hints[] = {9};
    EXPECT_NE(refused([&] { cache.hint(0, hints); }), "");
    EXPECT_NE(refused([&] { cache.set_pinned(0, hints); }), "");
}

}  // namespace
}  // namespace lfm::test
