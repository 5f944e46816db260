// Broken plans: each is refused with the path of what is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "memory/error.h"
#include "planner/plan/plan_json.h"
#include "tests/allocation_counter.h"
#include "tests/planner/sample_plan.h"
#include "tests/planner/schema_check.h"

namespace lfm::test {
namespace {

using Json = nlohmann::ordered_json;
using Pointer = Json::json_pointer;

/// The message, or "" when the text is accepted: then the schema allows it, and the plan is the same when written and
/// read again.
std::string refusal(const std::string& text) {
    const AllocationCounter allocations;
    try {
        const Plan plan = parse_plan(text, "bad.json");
        EXPECT_TRUE(fields(parse_plan(to_json(plan), "again")) == fields(plan));
        EXPECT_EQ(SchemaCheck("plan.schema.json").errors(nlohmann::json::parse(text)), std::vector<std::string>{});
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidInput) << error.what();
        EXPECT_TRUE(std::string(error.what()).starts_with("bad.json: ")) << error.what();
        EXPECT_LT(std::string(error.what()).size(), 400u);
        EXPECT_LT(allocations.peak_bytes(), 32 * text.size() + (1 << 20));
        return error.what();
    }
    return "";
}

const std::string& sound_text() {
    static const std::string text = to_json(small_plan());
    return text;
}
Json sound() { return Json::parse(sound_text()); }

/// "/placement/layers/3/home" as messages write it: "placement.layers[3].home".
std::string path_of(const Pointer& pointer) {
    std::string path;
    for (Pointer rest = pointer; !rest.empty(); rest.pop_back()) {
        const bool index = std::ranges::all_of(rest.back(), [](unsigned char c) { return std::isdigit(c) != 0; });
        path = (index ? "[" + rest.back() + "]" : "." + rest.back()) + path;
    }
    return path.starts_with('.') ? path.substr(1) : path;
}

/// Every value of a sound plan, containers before what they hold.
void visit(const Json& json, const Pointer& at, const std::function<void(const Pointer&, const Json&)>& call) {
    call(at, json);
    if (json.is_object())
        for (const auto& [key, value] : json.items()) visit(value, at / key, call);
    if (json.is_array())
        for (std::size_t i = 0; i < json.size(); ++i) visit(json[i], at / i, call);
}

TEST(PlanJsonBad, EveryValueOfAnotherType) {
    int n = 0;
    visit(sound(), Pointer(), [&](const Pointer& at, const Json& value) {
        if (at.empty()) return;
        for (const Json& other : {Json(nullptr), Json(true), Json("x\n"), Json(-1), Json(1e300), Json::array({Json()}),
                                  Json{{"a", 1}}, Json(~std::uint64_t{0})}) {
            if (at == Pointer("/machine/device") && other.is_null()) continue;  // no device: see HandEdited
            Json edited = sound();
            edited[at] = other;
            const std::string message = refusal(edited.dump());
            EXPECT_NE(message.find(path_of(at)), std::string::npos) << at << " = " << other << ": " << message;
            EXPECT_FALSE(SchemaCheck("plan.schema.json").errors(edited).empty()) << at << " = " << other;
            ++n;
        }
        if (!value.is_number()) return;
        Json edited = sound();
        edited[at] = "@";
        std::string text = edited.dump();
        text.replace(text.find("\"@\""), 3, "NaN");
        EXPECT_TRUE(refusal(text).starts_with("bad.json: expected JSON")) << at;
    });
    EXPECT_GT(n, 1000);
}

TEST(PlanJsonBad, EveryKeyMissingOrOneTooMany) {
    visit(sound(), Pointer(), [&](const Pointer& at, const Json& value) {
        if (!value.is_object() || at == Pointer("/machine/identity")) return;
        for (const auto& [key, member] : value.items()) {
            Json edited = sound();
            edited[at].erase(key);
            // All layers have reasons or none.
            const bool first = at == Pointer("/placement/layers/0") && key.ends_with("reason");
            const Pointer missed = first ? Pointer("/placement/layers/1") / key : at / key;
            EXPECT_NE(refusal(edited.dump()).find(path_of(missed) + ": expected"), std::string::npos) << at / key;
        }
        Json edited = sound();
        edited[at]["speed"] = 1;
        EXPECT_NE(refusal(edited.dump()).find(path_of(at / "speed") + ": expected"), std::string::npos) << at;
    });
}

TEST(PlanJsonBad, EveryPrefixAndManyWrongBytes) {
    const std::string text = sound_text();
    for (std::size_t size = 0; size + 1 < text.size(); ++size)
        ASSERT_TRUE(refusal(text.substr(0, size)).starts_with("bad.json: expected JSON")) << size;
    EXPECT_EQ(refusal(text.substr(0, text.size() - 1)), "");  // the last line's end
    std::mt19937 random(3);
    for (int i = 0; i < 20'000; ++i) {
        std::string edited = text;
        for (std::uint32_t n = random() % 3 + 1; n > 0; --n)
            edited[random() % edited.size()] = "0123456789{}[]\",:.e-x \n\x00\xff"[random() % 25];
        refusal(edited);  // or accepted as something else that is sound
    }
}

std::string repeat(const std::string& text, std::size_t n) {
    std::string all;
    for (std::size_t i = 0; i < n; ++i) all += text;
    return all;
}

TEST(PlanJsonBad, NotAPlanAtAll) {
    std::string many = "{\"format\":\"lfm-plan\",\"version\":1,\"remarks\":[";
    many += repeat("\"\",", 1'000'000) + "\"\"]}";
    const struct {
        std::string text, fragment;
    } cases[] = {
        {"null", "expected an object of format lfm-plan, found null"},
        {"[]", "expected an object of format lfm-plan, found an array"},
        {"{}", "format: expected one of lfm-plan, found nothing"},
        {to_json(sample_part()), "format: expected one of lfm-plan, found \"lfm-machine-profile\""},
        {repeat("[", 1'000'000), "nesting of at most 32 levels"},
        {repeat("{\"model\":", 400'000), "nesting of at most 32 levels"},
        {"{\"format\":\"lfm-plan\",\"version\":1,\"remarks\":" + repeat("[", 32) + repeat("]", 32) + "}", "nesting"},
        {sound_text() + std::string(4 << 20, ' '), "at most 4 MiB of JSON"},
        {many, "model: expected an object, found nothing"},
        {sound_text() + "{}", "expected JSON"},
    };
    for (const auto& [text, fragment] : cases)
        EXPECT_NE(refusal(text).find(fragment), std::string::npos) << fragment << " | " << refusal(text);
}

struct Edit {
    std::string pointer;
    Json value;
    std::string fragment;
};

void expect_refused(const std::vector<Edit>& edits) {
    for (const Edit& edit : edits) {
        Json edited = sound();
        edited[Pointer(edit.pointer)] = edit.value;
        const std::string message = refusal(edited.dump());
        EXPECT_NE(message.find(edit.fragment), std::string::npos)
            << edit.pointer << " = " << edit.value << ": " << message;
    }
}

TEST(PlanJsonBad, OutOfRange) {
    expect_refused({
        {"/format", "lfm-routing", "format: expected one of lfm-plan, found \"lfm-routing\""},
        {"/version", 2, "version: expected version 1, the one this program reads, found 2"},
        {"/version", 0, "version: expected a whole number from 1"},
        {"/version", 1.0, "version: expected a whole number"},
        {"/model/architecture", "llama", "model.architecture: expected one of lfm2, lfm2moe, found \"llama\""},
        {"/model/architecture", "lfm2", "model.n_layer_dense: expected a whole number from 5 to 5, found 2"},
        {"/model/n_layer", 0, "model.n_layer: expected a whole number from 1 to 1024, found 0"},
        {"/model/n_layer", 1025, "model.n_layer: expected"},
        {"/model/n_layer", 4, "placement.layers: expected 4 layers as model.n_layer says, found 5 entries"},
        {"/model/n_layer", 6, "placement.layers: expected 6 layers"},
        {"/model/n_layer_dense", 6, "model.n_layer_dense: expected a whole number from 0 to 5, found 6"},
        {"/model/n_embd", 0, "model.n_embd: expected"},
        {"/model/n_vocab", 1u << 21, "model.n_vocab: expected"},
        {"/model/n_expert", 0, "model.n_expert: expected a whole number from 1 to 4096, found 0"},
        {"/model/n_expert", 4097, "model.n_expert: expected"},
        {"/model/n_expert_used", 17, "model.n_expert_used: expected a whole number from 1 to 16, found 17"},
        {"/model/n_expert_used", 0, "model.n_expert_used: expected"},
        {"/model/tensors", "", "model.tensors: expected a text that is not empty"},
        {"/model/name", std::string(4097, 'a'), "model.name: expected a text of at most 4096 bytes, found 4097"},
        {"/machine/name", "\x1b]0;a\x07", "machine.name: expected a text without control characters"},
        {"/machine/identity/cores", 8, "machine.identity.cores: expected a text, found 8"},
        {"/machine/identity/a\nb", "8", "machine.identity: expected keys of 1 to 4096 bytes"},
        {"/machine/device/name", "", "machine.device.name: expected a text that is not empty"},
        {"/machine/device/backend", "metal",
         "machine.device.backend: expected one of cuda, hip, vulkan, sim, emulated"},
        {"/request/n_ctx", 0, "request.n_ctx: expected a whole number from 1 to 1073741824, found 0"},
        {"/request/n_ctx", 1073741825, "request.n_ctx: expected"},
        {"/request/n_ctx", 512.5, "request.n_ctx: expected"},
        {"/request/n_batch", 65537, "request.n_batch: expected"},
        {"/request/n_outputs", 65, "request.n_outputs: expected a whole number from 1 to 64, found 65"},
        {"/request/cache_type_k", "Q4_0", "request.cache_type_k: expected one of F32, F16, Q8_0, found \"Q4_0\""},
        {"/request/cache_type_v", "f16", "request.cache_type_v: expected one of"},
        {"/request/depth", 1073741825, "request.depth: expected"},
        {"/placement/embedding", "cuda", "placement.embedding: expected one of host, device, found \"cuda\""},
        {"/placement/layers/2/layer", 3, "placement.layers[2].layer: expected a whole number from 2 to 2, found 3"},
        {"/memory/0/use", "Experts", "memory[0].use: expected a use of memory, such as experts"},
        {"/memory/0/bytes", std::uint64_t{1} << 51, "memory[0].bytes: expected"},
        {"/prediction/decode_tokens_per_s/low", 1e13, "prediction.decode_tokens_per_s.low: expected"},
        {"/prediction/decode_tokens_per_s/low", 1e11, "prediction.decode_tokens_per_s.mid: expected a number from"},
        {"/prediction/prefill_tokens_per_s/high", 0, "prediction.prefill_tokens_per_s.high: expected a number from"},
        {"/prediction/decode_time_s/bus", 1, "prediction.decode_time_s: expected parts that add up to"},
        {"/prediction/decode_time_s/Bus", 0, "prediction.decode_time_s.Bus: expected a part of a step's time"},
        {"/prediction/alternatives", std::vector<int>(65), "prediction.alternatives: expected at most 64"},
        {"/remarks", std::vector<std::string>(1025), "remarks: expected at most 1024"},
    });
}

/// The first layer with experts whose home is there.
std::string moe_layer(const Json& plan, const std::string& home) {
    for (std::size_t i = plan["model"]["n_layer_dense"]; i < plan["placement"]["layers"].size(); ++i)
        if (plan["placement"]["layers"][i]["home"] == home) return "/placement/layers/" + std::to_string(i);
    return "";
}

TEST(PlanJsonBad, HandEdited) {
    const Json plan = sound();
    const std::uint64_t vram = plan["request"]["vram_budget_bytes"], memory = plan["machine"]["device"]["memory_bytes"];
    const std::uint64_t weights = plan["model"]["weights_bytes"];
    const std::string device = moe_layer(plan, "device"), host = moe_layer(plan, "host");
    ASSERT_FALSE(device.empty() || host.empty());
    const Json all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const auto path = [](const std::string& pointer) { return path_of(Pointer(pointer)); };
    expect_refused({
        {"/request/vram_budget_bytes", vram / 2, "memory: expected at most request.vram_budget_bytes"},
        {"/request/vram_budget_bytes", memory + 1, "request.vram_budget_bytes: expected a whole number from 0 to"},
        {"/request/vram_budget_bytes", 0, "expected host, as request.vram_budget_bytes is 0, found \"device\""},
        {"/request/ram_budget_bytes", 1000, "memory: expected at most request.ram_budget_bytes, 1000, on the host"},
        {"/machine/device", nullptr, "request.vram_budget_bytes: expected a whole number from 0 to 0"},
        {"/machine/device/memory_bytes", 1, "request.vram_budget_bytes: expected"},
        {"/model/weights_bytes", weights + 1, "memory: expected at least model.weights_bytes"},
        {"/memory", Json::array(), "memory: expected at least model.weights_bytes"},
        {"/memory/1", plan["memory"][0], "memory[1]: expected one line for each device and use"},
        {device + "/home", "host", path(device) + ".experts_on_device: expected no experts"},
        {device + "/experts_on_device", {3, 5, 3}, path(device) + ".experts_on_device[2]: expected each expert once"},
        {device + "/experts_on_device", {16}, path(device) + ".experts_on_device[0]: expected a whole number from 0 "},
        {device + "/experts_on_device", {-1}, path(device) + ".experts_on_device[0]: expected a whole number from 0 "},
        {device + "/experts_on_device", {1.5}, path(device) + ".experts_on_device[0]: expected a whole number from"},
        {device + "/experts_on_device", std::vector<int>(17), path(device) + ".experts_on_device: expected numbers"},
        {device + "/experts_on_device", all, path(device) + ".prefill_streamed: expected a whole number from 0 to 0"},
        {device + "/n_slots", 16, path(device) + ".n_slots: expected a whole number from 0 to 1"},
        {device + "/prefill_streamed", 17, path(device) + ".prefill_streamed: expected a whole number from 0 to 1"},
        {host + "/experts_on_device", {0}, path(host) + ".experts_on_device: expected no experts"},
        {host + "/n_slots", 1, path(host) + ".n_slots: expected a whole number from 0 to 0, found 1"},
        {host + "/prefill_streamed", 1, path(host) + ".prefill_streamed: expected a whole number from 0 to 0"},
        {"/placement/layers/0/experts_on_device", {0}, "placement.layers[0].experts_on_device: expected no experts"},
        {"/placement/layers/0/n_slots", 1, "placement.layers[0].n_slots: expected a whole number from 0 to 0"},
    });
    // Order is free.
    Json edited = plan;
    edited[Pointer(device + "/experts_on_device")] = {15, 2};
    edited[Pointer(device + "/prefill_streamed")] = 0;
    EXPECT_EQ(refusal(edited.dump()), "");
    const Plan reordered = parse_plan(edited.dump(), "text");
    EXPECT_EQ(reordered.n_experts_on({1}) - small_plan().n_experts_on({1}),
              2 - plan[Pointer(device + "/experts_on_device")].size());
}

TEST(PlanJsonBad, DenseModelsHaveNoExperts) {
    const Json dense = Json::parse(to_json(make_host_plan(describe_shape("lfm2:F16"), {.n_ctx = 64})));
    EXPECT_EQ(refusal(dense.dump()), "");
    for (const Edit& edit : std::vector<Edit>{
             {"/model/n_expert", 8, "model.n_expert: expected a whole number from 0 to 0, found 8"},
             {"/model/n_expert_used", 1, "model.n_expert_used: expected a whole number from 0 to 0, found 1"},
             {"/placement/layers/1/experts_on_device", {0}, "placement.layers[1].experts_on_device: expected no"},
             {"/placement/layers/1/n_slots", 1, "placement.layers[1].n_slots: expected"},
             {"/placement/layers/1/home", "device", "placement.layers[1].home: expected host"},
             {"/placement/layers/1/reason", "a",
              "placement.layers[1].reason: expected nothing, as layer 0 has none"}}) {
        Json edited = dense;
        edited[Pointer(edit.pointer)] = edit.value;
        EXPECT_NE(refusal(edited.dump()).find(edit.fragment), std::string::npos) << refusal(edited.dump());
    }
}

}  // namespace
}  // namespace lfm::test
