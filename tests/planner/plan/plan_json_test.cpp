// Plans to JSON and back, against their schema.
#include "planner/plan/plan_json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "memory/error.h"
#include "planner/plan/plan_json_names.h"
#include "tests/planner/random_cases.h"
#include "tests/planner/sample_plan.h"
#include "tests/planner/schema_check.h"

namespace lfm::test {
namespace {

void expect_same(const Plan& found, const Plan& expected) {
    EXPECT_TRUE(fields(found) == fields(expected));
    EXPECT_EQ(to_json(found), to_json(expected));
}

TEST(PlanJson, GivesTheSameValueBack) {
    for (const auto& [name, plan] : sample_plans()) {
        SCOPED_TRACE(name);
        expect_same(parse_plan(to_json(plan), name), plan);
    }
}

TEST(PlanJson, TheSamplesAreOfEveryKind) {
    const auto plans = sample_plans();
    const auto some = [&](auto property) {
        return std::ranges::any_of(plans, [&](const NamedPlan& named) { return property(named.plan); });
    };
    const auto any = [](const auto& values) { return std::ranges::any_of(values, [](auto v) { return v > 0; }); };
    EXPECT_TRUE(some([&](const Plan& plan) { return any(plan.n_slots); }));
    EXPECT_TRUE(some([&](const Plan& plan) { return any(plan.n_streamed); }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.embedding != plan.output; }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.embedding != kHost; }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.remarks.empty(); }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.remarks.size() > 1; }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.alternatives.size() > 2; }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.machine.device_name.empty(); }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.n_experts_on({1}) > 0 && plan.n_experts_on(kHost) > 0; }));
    EXPECT_TRUE(some([](const Plan& plan) { return plan.machine.measured_at.empty(); }));
}

TEST(PlanJson, RandomPlansGiveTheSameValueBack) {
    RandomCases cases(11);
    SchemaCheck schema("plan.schema.json");
    int n_plans = 0;
    for (int i = 0; i < 200; ++i) {
        SCOPED_TRACE(i);
        const ModelDescription model = cases.model({});
        PlanRequest request = cases.request(model);
        request.vram_budget = Bytes{cases.whole(0u, 1u << 24)};
        if (cases.chance(0.3)) request.vram_budget.reset();
        request.depth = cases.whole(0u, 5000u);
        const auto result = make_plan(model, cases.machine(), request);
        const auto* plan = std::get_if<Plan>(&result);
        if (plan == nullptr) continue;
        ++n_plans;
        const std::string text = to_json(*plan);
        expect_same(parse_plan(text, "random"), *plan);
        EXPECT_EQ(schema.errors(nlohmann::json::parse(text)), std::vector<std::string>{});
    }
    EXPECT_GT(n_plans, 100);
}

TEST(PlanJson, NumbersKeepEveryBit) {
    RandomCases cases(5);
    Plan plan = small_plan();
    plan.alternatives.clear();
    for (const double value : {0.0, 0.1, 1.0 / 3, 1e12, std::numeric_limits<double>::min(),
                               std::numeric_limits<double>::denorm_min(), 1e22 / 1e13, 9007199254740993e-10})
        plan.alternatives.push_back({"a", value});
    while (plan.alternatives.size() < 64) plan.alternatives.push_back({"random", cases.spread(1e-300, 1e12)});
    expect_same(parse_plan(to_json(plan), "text"), plan);
    EXPECT_NE(to_json(plan).find("\"decode_tokens_per_s\": 0.3333333333333333\n"), std::string::npos);
    EXPECT_NE(to_json(plan).find("\"decode_tokens_per_s\": 0.1\n"), std::string::npos);
}

TEST(PlanJson, IsLaidOutForPeople) {
    Plan plan = make_host_plan(describe_shape("lfm2moe,n_layer=2,n_expert=8,n_layer_dense=1:F16"), {.n_ctx = 64});
    plan.machine.device_name = "Card";
    plan.machine.device_backend = "sim";
    plan.machine.device_memory = Bytes{1000};
    plan.vram_budget = Bytes{900};
    plan.layers[1] = {1};
    plan.experts[8 + 2] = plan.experts[8 + 7] = plan.experts[8 + 0] = {1};
    const std::string text = to_json(plan);
    EXPECT_TRUE(text.starts_with("{\n  \"format\": \"lfm-plan\",\n  \"version\": 1,\n  \"model\": {\n    \"arch"));
    EXPECT_TRUE(text.ends_with("  \"remarks\": []\n}\n"));
    const std::string layers =
        "    \"layers\": [\n"
        "      {\n        \"layer\": 0,\n        \"home\": \"host\",\n        \"experts_on_device\": [],\n"
        "        \"n_slots\": 0,\n        \"prefill_streamed\": 0\n      },\n"
        "      {\n        \"layer\": 1,\n        \"home\": \"device\",\n        \"experts_on_device\": [0, 2, 7],\n"
        "        \"n_slots\": 0,\n        \"prefill_streamed\": 0\n      }\n    ]\n  },\n  \"memory\": [],\n";
    EXPECT_NE(text.find(layers), std::string::npos) << text;
}

TEST(PlanJson, SchemaKnowsWhatIsWrittenAndNothingElse) {
    SchemaCheck schema("plan.schema.json");
    for (const auto& [name, plan] : sample_plans())
        EXPECT_EQ(schema.errors(nlohmann::json::parse(to_json(plan))), std::vector<std::string>{}) << name;
    EXPECT_EQ(schema.keys_not_met(), std::vector<std::string>{});
    auto wrong = nlohmann::json::parse(to_json(small_plan()));
    wrong["placement"]["layers"][2]["speed"] = 1;
    wrong["request"].erase("depth");
    wrong["memory"][0]["bytes"] = -1;
    EXPECT_EQ(schema.errors(wrong),
              (std::vector<std::string>{"memory[0].bytes: minimum", "placement.layers[2].speed: additionalProperties",
                                        "request: required"}));
}

TEST(PlanJson, EveryNameLeadsBack) {
    int n = 0;
    for (int i = 0; i < 256; ++i) {
        const auto use = static_cast<MemoryUse>(i);
        if (*memory_use_name(use) == '\0') continue;
        EXPECT_EQ(memory_use_from_name(memory_use_name(use)), use);
        ++n;
    }
    EXPECT_EQ(n, 13);
    for (std::size_t i = 0; i < kTimeParts; ++i)
        EXPECT_EQ(time_part_from_name(time_part_name(static_cast<TimePart>(i))), static_cast<TimePart>(i));
    EXPECT_FALSE(memory_use_from_name(""));
    EXPECT_FALSE(time_part_from_name("Bus"));
}

TEST(PlanJson, NamesFromFilesAndDriversAreMadeFitToRead) {
    Plan plan = small_plan();
    plan.model.name = "a\x1b[31m\xff" + std::string("b\0c", 3);
    plan.machine.name = std::string(4095, 'x') + "ü, and more";
    const Plan back = parse_plan(to_json(plan), "text");
    EXPECT_EQ(back.model.name,
              "a?[31m\xef\xbf\xbd"
              "b?c");
    EXPECT_EQ(back.machine.name, std::string(4095, 'x'));
    expect_same(parse_plan(to_json(back), "text"), back);
}

TEST(PlanJson, NothingIsWrittenThatCannotBeRead) {
    Plan plan = small_plan();
    for (int i = 0; i < 58; ++i) plan.machine.identity.parts["part " + std::to_string(i)] = "a";
    EXPECT_THROW(to_json(plan), Error);
    plan = small_plan();
    plan.decode.high = std::numeric_limits<double>::infinity();
    EXPECT_THROW(to_json(plan), Error);
    plan.decode.high = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THROW(to_json(plan), Error);
    plan = small_plan();
    for (int i = 0; i < 1024; ++i) plan.remarks.push_back(std::string(4096, 'x'));
    EXPECT_THROW(to_json(plan), Error);
}

}  // namespace
}  // namespace lfm::test
