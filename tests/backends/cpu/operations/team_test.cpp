#include "backends/cpu/operations/team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

namespace lfm::cpu {
namespace {

/// How often each item was done.
std::vector<int> counts_of(Team& team, std::uint32_t n_items) {
    std::vector<std::atomic<int>> done(n_items);
    team.for_each(n_items, [&](std::uint32_t item) { ++done[item]; });
    return {done.begin(), done.end()};
}

bool each_once(const std::vector<int>& counts) {
    return std::ranges::all_of(counts, [](int count) { return count == 1; });
}

class TeamTest : public testing::TestWithParam<std::uint32_t> {
protected:
    template <typename Body>
    void in_arena(const Body& body) {
        const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, GetParam());
        tbb::task_arena arena(static_cast<int>(GetParam()));
        arena.execute(body);
    }
};

TEST_P(TeamTest, DoesEveryItemOnceInManyCalls) {
    Team team(GetParam());
    in_arena([&] {
        for (int round = 0; round < 20; ++round)
            team.assemble([&] {
                for (std::uint32_t n_items : {0u, 1u, 2u, 3u, 7u, 64u, 1001u})
                    for (int call = 0; call < 20; ++call)
                        EXPECT_TRUE(each_once(counts_of(team, n_items))) << n_items << " items";
            });
    });
}

TEST_P(TeamTest, DoesEveryItemOnceWithoutHelpers) {
    Team team(GetParam());
    EXPECT_TRUE(each_once(counts_of(team, 100)));
}

TEST_P(TeamTest, WhatTheBodyThrowsComesThroughAndTheTeamWorksAgain) {
    Team team(GetParam());
    in_arena([&] {
        for (int round = 0; round < 20; ++round) {
            EXPECT_THROW(team.assemble([&] {
                counts_of(team, 10);
                throw std::runtime_error("step");
            }),
                         std::runtime_error);
            team.assemble([&] { EXPECT_TRUE(each_once(counts_of(team, 33))); });
        }
    });
}

/// oneTBB promises no thread: an arena of one has none to give.
TEST_P(TeamTest, FinishesWhenNoHelperComes) {
    Team team(GetParam());
    tbb::task_arena arena(1);
    arena.execute([&] { team.assemble([&] { EXPECT_TRUE(each_once(counts_of(team, 500))); }); });
}

TEST_P(TeamTest, WritesOfHelpersAreSeenByTheCaller) {
    Team team(GetParam());
    in_arena([&] {
        team.assemble([&] {
            std::vector<std::uint32_t> values(4096);
            for (std::uint32_t round = 1; round < 50; ++round) {
                team.for_each(4096, [&](std::uint32_t item) { values[item] += item * round; });
                EXPECT_EQ(values[4095], 4095u * (round * (round + 1) / 2));
            }
        });
    });
}

INSTANTIATE_TEST_SUITE_P(Threads, TeamTest, testing::Values(1u, 2u, 3u, 8u));

TEST(Team, HelpersTakePart) {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core";
    Team team(2);
    const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, 2);
    tbb::task_arena arena(2);
    arena.execute([&] {
        team.assemble([&] {
            // Item 0 is the caller's, item 1 the helper's; each waits for the other to begin.
            std::atomic<int> begun = 0;
            const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
            team.for_each(2, [&](std::uint32_t) {
                ++begun;
                while (begun < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
            });
            EXPECT_EQ(begun, 2);
            EXPECT_LT(std::chrono::steady_clock::now(), deadline);
        });
    });
}

}  // namespace
}  // namespace lfm::cpu
