// Traces: valid JSON with the times, lanes and numbers recorded, whole from many threads, and bounded.
#include "runtime/step/trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/allocation_counter.h"

namespace lfm::test {
namespace {

using Json = nlohmann::json;

std::vector<Json> events_of(const Json& trace, const std::string& phase) {
    std::vector<Json> events;
    for (const Json& event : trace["traceEvents"])
        if (event["ph"] == phase) events.push_back(event);
    return events;
}

TEST(Trace, HoldsTimesLanesAndNumbers) {
    Trace trace("lfm-run", 8);
    const TraceLane host = trace.add_lane("host"), copy = trace.add_lane("copy \"lane\"\n\xff");
    const TraceName expert = trace.name("experts"), bytes = trace.name("bytes"), layer = trace.name("layer");
    trace.record({host, expert, 100.5, 100.500002, {{{layer, 3}, {bytes, 1.5e9}}}});
    trace.record({copy, trace.name("copy"), 100.25, 101});
    const Json json = Json::parse(trace.json());
    const auto events = events_of(json, "X");
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0]["name"], "experts");
    EXPECT_NEAR(events[0]["ts"].get<double>(), 250'000, 1e-3);  // from the earliest event
    EXPECT_NEAR(events[0]["dur"].get<double>(), 2, 2e-3);
    EXPECT_EQ(events[0]["args"], (Json{{"layer", 3.0}, {"bytes", 1.5e9}}));
    EXPECT_EQ(events[1]["ts"], 0.0);
    EXPECT_NEAR(events[1]["dur"].get<double>(), 750'000, 1e-3);
    EXPECT_FALSE(events[1].contains("args"));
    EXPECT_NE(events[0]["tid"], events[1]["tid"]);

    std::map<std::string, Json> lanes;
    for (const Json& event : events_of(json, "M")) {
        if (event["name"] == "process_name") {
            EXPECT_EQ(event["args"]["name"], "lfm-run");
        }
        if (event["name"] == "thread_name") lanes[event["args"]["name"]] = event["tid"];
        EXPECT_EQ(event["pid"], events[0]["pid"]);
    }
    EXPECT_EQ(lanes.at("host"), events[0]["tid"]);
    EXPECT_EQ(lanes.at("copy \"lane\"\n\xef\xbf\xbd"), events[1]["tid"]);
    EXPECT_EQ(json["otherData"]["dropped_events"], 0);
}

TEST(Trace, AnEmptyOneIsValidToo) { EXPECT_EQ(Json::parse(Trace("", 0).json())["traceEvents"].size(), 1u); }

TEST(Trace, TheSameTextHasTheSameName) {
    Trace trace("p", 1);
    const TraceName name = trace.name("copy");
    trace.name("other");
    EXPECT_EQ(trace.name("copy").number, name.number);
}

TEST(Trace, RecordingAllocatesNothingAndCountsWhatFindsNoRoom) {
    Trace trace("p", 10);
    const TraceLane lane = trace.add_lane("lane");
    const TraceName name = trace.name("a name that is longer than what a string holds by itself");
    const AllocationCounter counter;
    for (int i = 0; i < 25; ++i) trace.record({lane, name, i * 1.0, i + 0.5});
    EXPECT_EQ(counter.calls(), 0u);
    EXPECT_EQ(trace.n_events(), 10u);
    EXPECT_EQ(trace.n_dropped(), 15u);
    EXPECT_EQ(Json::parse(trace.json())["otherData"]["dropped_events"], 15);
    trace.clear();
    EXPECT_EQ(trace.n_events() + trace.n_dropped(), 0u);
    trace.record({lane, name, 1, 2});
    EXPECT_EQ(trace.n_events(), 1u);
}

TEST(Trace, WhatWouldBreakTheFileIsDropped) {
    Trace trace("p", 20);
    const TraceLane lane = trace.add_lane("lane");
    const TraceName name = trace.name("name");
    const double infinite = std::numeric_limits<double>::infinity();
    trace.record({lane, name, std::nan(""), 1});
    trace.record({lane, name, 0, infinite});
    trace.record({{1}, name, 0, 1});
    trace.record({lane, name, -1e308, 1e308});
    trace.record({lane, {1}, 0, 1});
    trace.record({lane, {}, 0, 1});
    trace.record({lane, name, 0, 1, {{{{7}, 1}}}});
    EXPECT_EQ(trace.n_dropped(), 7u);
    trace.record({lane, name, 5, 4});                                      // lasts no time
    trace.record({lane, name, 5, 6, {{{name, infinite}, {name, -0.5}}}});  // without the first number
    trace.record({lane, name, -1e12, 1e12});
    const auto events = events_of(Json::parse(trace.json()), "X");
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0]["dur"], 0.0);
    EXPECT_EQ(events[1]["args"], (Json{{"name", -0.5}}));
}

TEST(Trace, ThreadsRecordTogether) {
    constexpr int kThreads = 4, kEvents = 5000;
    Trace trace("p", kThreads * kEvents - 100);
    std::vector<TraceLane> lanes;
    for (int i = 0; i < kThreads; ++i) lanes.push_back(trace.add_lane("lane " + std::to_string(i)));
    const TraceName name = trace.name("work"), number = trace.name("number");
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEvents; ++i)
                trace.record({lanes[static_cast<std::size_t>(t)], name, i * 1e-6, i * 1e-6, {{{number, i * 4.0 + t}}}});
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(trace.n_dropped(), 100u);
    const auto events = events_of(Json::parse(trace.json()), "X");
    ASSERT_EQ(events.size(), std::size_t{kThreads * kEvents - 100});
    std::map<int, double> last;
    for (const Json& event : events) {
        const int lane = event["tid"].get<int>() - 1;
        const double value = event["args"]["number"].get<double>();
        EXPECT_EQ(std::fmod(value, 4), lane);  // whole, and in the order of its thread
        if (last.contains(lane)) {
            EXPECT_GT(value, last[lane]);
        }
        last[lane] = value;
    }
}

}  // namespace
}  // namespace lfm::test
