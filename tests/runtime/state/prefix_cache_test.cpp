// The tree of cached prefixes against a list of all that was ever added.
#include "runtime/state/prefix_cache.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace lfm::test {
namespace {

using Tokens = std::vector<std::int32_t>;
constexpr std::uint32_t kReplay = 20;

std::size_t n_pages(std::size_t n_tokens) { return (n_tokens + kKvPageTokens - 1) / kKvPageTokens; }

/// What a sequence does: takes pages for its tokens, gives them back.
class Held {
public:
    Held(PagePool& pool, std::size_t n_tokens, std::vector<PageId> shared = {})
        : pool_(pool), pages(std::move(shared)) {
        while (pages.size() < n_pages(n_tokens)) pages.push_back(*pool_.take());
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
        for (const PageId page : pages) pool_.release(page);
    }

private:
    PagePool& pool_;

public:
    std::vector<PageId> pages;
};

Tokens counted(std::size_t n, std::int32_t first = 0) {
    Tokens tokens(n);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
}
Tokens with(Tokens tokens, std::size_t at, std::int32_t token) {
    tokens[at] = token;
    return tokens;
}

TEST(PrefixCache, CutsAtAnyToken) {
    PagePool pool(100);
    PrefixCache cache(pool, 4, kReplay);
    const Tokens tokens = counted(150);
    {
        const Held held(pool, tokens.size());
        cache.add(tokens, held.pages);
    }
    EXPECT_EQ(pool.n_free(), 95u);
    for (const std::size_t cut : {21, 31, 32, 33, 64, 100, 149}) {
        const PrefixHit hit = cache.find(with(tokens, cut, -1));
        EXPECT_EQ(hit.n_tokens, cut);
        EXPECT_EQ(hit.n_replay, kReplay);
        EXPECT_EQ(hit.pages.size(), n_pages(cut));
        EXPECT_EQ(cache.n_saved(with(tokens, cut, -1)), cut - kReplay);
        for (const PageId page : hit.pages) pool.release(page);
    }
    EXPECT_EQ(cache.find(with(tokens, 20, -1)).n_tokens, 0u) << "nothing is saved";
    EXPECT_EQ(cache.n_saved(with(tokens, 20, -1)), 0u);
    const PrefixHit whole = cache.find(tokens);
    EXPECT_EQ(whole.n_tokens, 149u) << "the last token's logits are wanted";
    for (const PageId page : whole.pages) pool.release(page);
    EXPECT_EQ(cache.find(tokens, 1).n_tokens, 0u) << "another scope";
    EXPECT_EQ(cache.find({}).n_tokens, 0u);
    cache.clear();
    EXPECT_EQ(pool.n_free(), 100u);
}

TEST(PrefixCache, BeginsAtTheNearestSnapshot) {
    PagePool pool(100);
    PrefixCache cache(pool, 2, kReplay);
    const Tokens tokens = counted(150);
    const Held held(pool, tokens.size());
    cache.add(tokens, held.pages);
    const auto saved = cache.take_snapshot();
    ASSERT_TRUE(saved);
    cache.add_snapshot(*saved, std::span(tokens).first(70));
    const auto found = [&](std::size_t cut) {
        PrefixHit hit = cache.find(with(tokens, cut, -1));
        for (const PageId page : hit.pages) pool.release(page);
        return hit;
    };
    EXPECT_EQ(found(70).n_replay, 0u);
    EXPECT_EQ(found(75).n_replay, 5u);
    EXPECT_EQ(found(75).snapshot, saved);
    EXPECT_EQ(found(90).n_replay, kReplay);
    EXPECT_EQ(found(90).snapshot, saved) << "at the same place";
    EXPECT_EQ(found(91).snapshot, std::nullopt);
    EXPECT_EQ(found(69).snapshot, std::nullopt) << "it comes later";

    // What is known, or unknown tokens, take no place.
    const auto second = cache.take_snapshot();
    ASSERT_TRUE(second);
    cache.add_snapshot(*second, std::span(tokens).first(70));
    ASSERT_EQ(cache.take_snapshot(), second);
    cache.add_snapshot(*second, with(tokens, 3, -1));
    ASSERT_EQ(cache.take_snapshot(), second);
    cache.add_snapshot(*second, std::span(tokens).first(30));
    // Both are taken. The one that was used last leaves only when the step that begins with it has run.
    found(30);
    EXPECT_EQ(cache.take_snapshot(), std::nullopt) << "both are in use";
    cache.end_step();
    EXPECT_EQ(cache.take_snapshot(), saved) << "the one at 30 was used later";
    EXPECT_EQ(found(30).n_replay, 0u);
    EXPECT_EQ(found(70).snapshot, std::nullopt);
}

TEST(PrefixCache, WhatAStepBeginsWithIsNotUsedAnewBeforeItHasRun) {
    PagePool pool(10);
    PrefixCache cache(pool, 1, 20);
    const Tokens tokens = counted(40);
    {
        const Held held(pool, tokens.size());
        cache.add(tokens, held.pages);
    }
    const auto saved = cache.take_snapshot();
    cache.add_snapshot(*saved, std::span(tokens).first(35));
    PrefixHit hit = cache.find(with(tokens, 35, -1));
    ASSERT_EQ(hit.snapshot, saved);
    EXPECT_TRUE(cache.forget(hit.pages.back()));
    EXPECT_EQ(cache.take_snapshot(), std::nullopt);
    cache.end_step();
    EXPECT_EQ(cache.take_snapshot(), saved);
    for (const PageId page : hit.pages) pool.release(page);
}

TEST(PrefixCache, TheLongestUnusedLeavesFirst) {
    PagePool pool(8);
    PrefixCache cache(pool, 1, 0);
    for (int i = 0; i < 4; ++i) {
        const Held held(pool, 64);
        cache.add(counted(64, 1000 * i), held.pages);
    }
    EXPECT_EQ(pool.n_free(), 0u);
    EXPECT_EQ(cache.n_unused(), 8u);
    for (const PageId page : cache.find(counted(64, 0)).pages) pool.release(page);  // 0 is used again: 1 is oldest
    EXPECT_TRUE(cache.free_pages(2));
    EXPECT_EQ(cache.n_saved(counted(64, 1000)), 0u);
    EXPECT_EQ(cache.n_saved(counted(64, 0)), 63u);
    const PrefixHit hit = cache.find(counted(65, 2000));
    EXPECT_EQ(cache.n_unused(), 4u);
    EXPECT_FALSE(cache.free_pages(7)) << "two are in use";
    EXPECT_EQ(pool.n_free(), 6u);
    for (const PageId page : hit.pages) pool.release(page);
}

TEST(PrefixCache, FindsTheLongestOfManyRandomOnes) {
    std::mt19937 random(7);
    for (int round = 0; round < 30; ++round) {
        PagePool pool(400);
        std::vector<Tokens> all;
        std::map<PageId, Tokens> content;  // by page: its tokens, as their users wrote them
        {
            PrefixCache cache(pool, 3, round % 2 == 0 ? 0 : kReplay);
            for (int i = 0; i < 60; ++i) {
                // An old one's beginning, then other tokens of few kinds.
                Tokens tokens;
                if (!all.empty() && random() % 4 > 0) {
                    const Tokens& old = all[random() % all.size()];
                    tokens.assign(old.begin(), old.begin() + static_cast<std::ptrdiff_t>(random() % (old.size() + 1)));
                }
                for (std::size_t n = 1 + random() % 70; n > 0; --n)
                    tokens.push_back(static_cast<std::int32_t>(random() % 2));
                std::size_t longest = 0;
                for (const Tokens& old : all) {
                    const auto until = std::ranges::mismatch(old, tokens).in2 - tokens.begin();
                    longest = std::max(longest, static_cast<std::size_t>(until));
                }
                longest = std::min(longest, tokens.size() - 1);
                PrefixHit hit = cache.find(tokens);
                if (hit.n_tokens > 0) {
                    ASSERT_EQ(hit.n_tokens, longest);
                } else {
                    ASSERT_LE(longest, kReplay);
                }
                for (std::size_t t = 0; t < hit.n_tokens; ++t)
                    ASSERT_EQ(content.at(hit.pages[t / kKvPageTokens]).at(t % kKvPageTokens), tokens[t]);
                // A page used in part is copied before it is written to.
                if (hit.n_tokens % kKvPageTokens > 0) {
                    pool.release(hit.pages.back());
                    hit.pages.pop_back();
                }
                ASSERT_TRUE(cache.free_pages(static_cast<std::uint32_t>(n_pages(tokens.size()) - hit.pages.size())));
                const std::size_t n_shared = hit.pages.size();
                const Held held(pool, tokens.size(), std::move(hit.pages));
                for (std::size_t p = n_shared; p < held.pages.size(); ++p)
                    content[held.pages[p]] = {
                        tokens.begin() + static_cast<std::ptrdiff_t>(p * kKvPageTokens),
                        tokens.begin() + static_cast<std::ptrdiff_t>(std::min(tokens.size(), (p + 1) * kKvPageTokens))};
                cache.add(tokens, held.pages);
                if (random() % 3 == 0)
                    if (const auto id = cache.take_snapshot()) cache.add_snapshot(*id, tokens);
                cache.end_step();
                if (pool.n_free() < 100) break;  // nothing was given up so far: `all` is what it knows
                all.push_back(tokens);
            }
            EXPECT_EQ(cache.n_unused(), cache.n_nodes());
            EXPECT_TRUE(cache.free_pages(400));
        }
        EXPECT_EQ(pool.n_free(), 400u);
    }
}

}  // namespace
}  // namespace lfm::test
