// The scheduler, run with thousands of arrivals against a machine that is two numbers.
#include "runtime/service/scheduler.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "backends/needs/kv_pages.h"

namespace lfm::test {
namespace {

struct Arrival {
    double at = 0;
    std::uint32_t n_prompt = 0, n_predict = 0;
    int priority = 0;
};

struct Served {
    Arrival asked;
    double first_token = -1, end = -1;
    std::uint32_t n_generated = 0, n_preempted = 0;
    std::uint32_t n_held = 0;

    double wait() const { return first_token - asked.at; }
};

/// A machine whose steps take what `truth` says, with so many pages.
class Machine {
public:
    Machine(const SchedulerLimits& limits, StepRate truth, std::uint32_t n_pages = 1u << 30)
        : limits_(limits), truth_(truth), n_pages_(n_pages), scheduler_(limits, StepRate(0, 1)) {}

    std::vector<Served> serve(const std::vector<Arrival>& arrivals) {
        served_.assign(arrivals.size(), {});
        std::size_t n_ended = 0, next = 0;
        for (std::size_t i = 0; i < arrivals.size(); ++i) served_[i].asked = arrivals[i];
        while (n_ended < arrivals.size()) {
            for (; next < arrivals.size() && arrivals[next].at <= now_; ++next)
                scheduler_.submit(next, {arrivals[next].n_prompt, 0, arrivals[next].priority}, arrivals[next].at);
            const StepPlan plan = scheduler_.next(n_pages_ - pages_used());
            if (plan.preempted) {
                served_[*plan.preempted].n_held = 0;
                ++served_[*plan.preempted].n_preempted;
                continue;
            }
            if (plan.slices.empty()) {
                if (next == arrivals.size()) {
                    ADD_FAILURE() << "stuck with " << arrivals.size() - n_ended << " requests";
                    break;
                }
                now_ = arrivals[next].at;
                continue;
            }
            check(plan);
            const double seconds = truth_.seconds(plan.n_rows());
            now_ += seconds;
            busy_ += seconds;
            n_rows_ += plan.n_rows();
            longest_ = std::max(longest_, seconds);
            scheduler_.done(plan, seconds);
            for (const Slice& slice : plan.slices) {
                Served& one = served_[slice.id];
                one.n_held += slice.n_rows;
                if (!slice.has_output) continue;
                if (one.first_token < 0) one.first_token = now_;
                if (++one.n_generated < one.asked.n_predict) continue;
                one.end = now_;
                one.n_held = 0;
                scheduler_.remove(slice.id);
                ++n_ended;
            }
            EXPECT_LE(pages_used(), n_pages_);
        }
        return served_;
    }

    double rows_per_busy_second() const { return n_rows_ / busy_; }
    double longest_step() const { return longest_; }
    const Scheduler& scheduler() const { return scheduler_; }

private:
    std::uint32_t pages_used() const {
        std::uint32_t n = 0;
        for (const Served& one : served_) n += n_kv_pages(one.n_held);
        return n;
    }
    void check(const StepPlan& plan) {
        EXPECT_LE(plan.n_rows(), limits_.n_batch);
        std::map<RequestId, int> seen;
        std::size_t n_with_state = 0;
        for (const Slice& slice : plan.slices) {
            EXPECT_EQ(++seen[slice.id], 1);
            EXPECT_GT(slice.n_rows, 0u);
        }
        for (std::size_t i = 0; i < served_.size(); ++i) n_with_state += served_[i].n_held > 0 || seen.contains(i);
        EXPECT_LE(n_with_state, limits_.n_sequences);
    }

    SchedulerLimits limits_;
    StepRate truth_;
    std::uint32_t n_pages_;
    Scheduler scheduler_;
    std::vector<Served> served_;
    double now_ = 0, busy_ = 0, longest_ = 0, n_rows_ = 0;
};

/// Poisson arrivals; prompts of 16 to 16384 tokens, by their logarithm equally often; answers of 8 to 128.
std::vector<Arrival> poisson(std::size_t n, double rows_per_second, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> octave(4, 14);
    std::uniform_int_distribution<std::uint32_t> answer(8, 128);
    std::vector<Arrival> arrivals;
    double rows = 0;
    for (std::size_t i = 0; i < n; ++i) {
        arrivals.push_back({0, static_cast<std::uint32_t>(std::exp2(octave(random))), answer(random)});
        rows += arrivals.back().n_prompt + arrivals.back().n_predict;
    }
    std::exponential_distribution<double> gap(rows_per_second / (rows / static_cast<double>(n)));
    double at = 0;
    for (Arrival& arrival : arrivals) arrival.at = at += gap(random);
    return arrivals;
}

double percentile(std::vector<double> values, double share) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

struct Rate {
    const char* name;
    StepRate rate;
};
class SchedulerAt : public testing::TestWithParam<Rate> {
protected:
    static SchedulerLimits limits() { return {.n_sequences = 64, .n_batch = 512}; }
    static std::uint32_t full_rows() {
        return std::min(limits().n_batch, GetParam().rate.rows_within(limits().step_seconds));
    }
    static double capacity() { return full_rows() / GetParam().rate.seconds(full_rows()); }
};

TEST_P(SchedulerAt, NobodyStarves) {
    for (const std::uint64_t seed : {1, 2, 3}) {
        Machine machine(limits(), GetParam().rate);
        const auto served = machine.serve(poisson(1000, 0.7 * capacity(), seed));
        std::vector<double> waits;
        double longest = 0;
        for (const Served& one : served) {
            const double own = GetParam().rate.seconds(one.asked.n_prompt), step = limits().step_seconds;
            if (one.asked.n_prompt <= 256) waits.push_back(one.wait() / (own + step));
            longest = std::max(longest, one.wait() / (own + step));
        }
        EXPECT_LE(percentile(waits, 0.99), 3) << seed;
        std::cout << "short ones wait p99 " << percentile(waits, 0.99)
                  << " of their own time and a step, anybody at most " << longest << "; longest step "
                  << machine.longest_step() << " s\n";
        EXPECT_LE(longest, 60) << seed;
    }
}

TEST_P(SchedulerAt, AFullMachineIsUsed) {
    Machine machine(limits(), GetParam().rate);
    machine.serve(poisson(300, 5 * capacity(), 4));
    EXPECT_GE(machine.rows_per_busy_second(), 0.95 * capacity());
}

INSTANTIATE_TEST_SUITE_P(Machines, SchedulerAt,
                         testing::Values(Rate{"TwoCores", {0.034, 0.005}}, Rate{"Laptop", {0.06, 0.002}},
                                         Rate{"Card", {0.008, 0.0002}}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Scheduler, PreemptsTheYoungestWhenPagesLack) {
    Machine machine({.n_sequences = 8, .n_batch = 256}, {0.01, 0.001}, 64);
    std::vector<Arrival> arrivals;
    for (int i = 0; i < 40; ++i) arrivals.push_back({i * 0.01, 200, 400});
    const auto served = machine.serve(arrivals);
    std::uint32_t n_preempted = 0;
    for (const Served& one : served) {
        EXPECT_EQ(one.n_generated, 400u);
        n_preempted += one.n_preempted;
    }
    EXPECT_GT(n_preempted, 0u);
    EXPECT_EQ(served.front().n_preempted, 0u) << "the oldest goes on";
}

TEST(Scheduler, WhatNeverFitsIsNoStep) {
    Scheduler scheduler({.n_sequences = 2, .n_batch = 64}, {0, 0.001});
    scheduler.submit(1, {.n_prompt = 1000}, 0);
    StepPlan plan = scheduler.next(2);
    ASSERT_EQ(plan.n_rows(), 64u);
    scheduler.done(plan, 1);
    plan = scheduler.next(0);
    EXPECT_TRUE(plan.slices.empty());
    EXPECT_FALSE(plan.preempted) << "nobody is left to make room";
}

TEST(Scheduler, ImportantOnesComeFirst) {
    Machine machine({.n_sequences = 4, .n_batch = 128}, {0.01, 0.001});
    std::vector<Arrival> arrivals;
    for (int i = 0; i < 20; ++i) arrivals.push_back({0, 1000, 10, i == 19 ? 1 : 0});
    const auto served = machine.serve(arrivals);
    for (int i = 0; i < 19; ++i) EXPECT_LT(served[19].first_token, served[i].first_token) << i;
}

TEST(Scheduler, OneThatWentAwayTakesNoPart) {
    Scheduler scheduler({.n_sequences = 4, .n_batch = 64}, {0, 0.001});
    scheduler.submit(1, {.n_prompt = 100}, 0);
    scheduler.submit(2, {.n_prompt = 10}, 0);
    const StepPlan plan = scheduler.next(100);
    scheduler.remove(2);
    scheduler.done(plan, 0.1);
    EXPECT_EQ(scheduler.n_active(), 1u);
    const StepPlan rest = scheduler.next(100);
    ASSERT_EQ(rest.slices.size(), 1u);
    EXPECT_EQ(rest.slices[0].id, 1u);
}

TEST(Scheduler, CachedTokensAreNotComputedAgain) {
    Scheduler scheduler({.n_sequences = 1, .n_batch = 64}, {0, 0.0001});
    scheduler.submit(1, {.n_prompt = 100, .n_cached = 70}, 0);
    const StepPlan plan = scheduler.next(1);
    ASSERT_EQ(plan.slices.size(), 1u);
    EXPECT_EQ(plan.slices[0].n_rows, 26u) << "one page: tokens 64 to 95, of which six are copied";
    scheduler.done(plan, 0.1);
    const StepPlan last = scheduler.next(1);
    ASSERT_EQ(last.slices.size(), 1u);
    EXPECT_EQ(last.slices[0].n_rows, 4u);
    EXPECT_TRUE(last.slices[0].has_output);
}

TEST(StepRate, LearnsBothParts) {
    StepRate rate(0, 1);
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> noise(0.95, 1.05);
    for (int i = 0; i < 100; ++i) {
        const std::uint32_t n = 1 + i % 4 * 60;
        rate.add(n, (0.03 + 0.002 * n) * noise(random));
    }
    EXPECT_NEAR(rate.seconds(0), 0.03, 0.015);
    EXPECT_NEAR(rate.rows_within(0.25), 110, 11);
}

TEST(StepRate, StepsOfOneSizeErrToShorterOnes) {
    StepRate rate(0, 1);
    for (int i = 0; i < 50; ++i) rate.add(4, 0.04);
    EXPECT_NEAR(rate.rows_within(0.25), 25, 1);
}

}  // namespace
}  // namespace lfm::test
