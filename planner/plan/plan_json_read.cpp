// Plans from JSON.
#include <algorithm>
#include <cmath>

#include "planner/cost/placement.h"
#include "planner/json/json_file.h"
#include "planner/model/hyper_parameters.h"
#include "planner/plan/plan_json.h"
#include "planner/plan/plan_json_names.h"

namespace lfm {
namespace {

void require_keys(const JsonNode& node, std::initializer_list<std::string_view> keys) {
    lfm::require_keys(node, kPlanSchema, keys);
}

std::uint32_t whole(const JsonNode& node, std::uint32_t least, std::uint32_t most) {
    return static_cast<std::uint32_t>(node.whole(least, most));
}

Bytes read_bytes(const JsonNode& node, std::uint64_t most = kMaxPlanBytes) { return {node.whole(0, most)}; }

DeviceId read_place(const JsonNode& node) { return node.one_of({"host", "device"}) == "host" ? kHost : kDevice; }

ModelSummary read_model(const JsonNode& node) {
    require_keys(node, {"architecture", "name", "n_layer", "n_layer_dense", "n_embd", "n_vocab", "n_expert",
                        "n_expert_used", "weights_bytes", "tensors"});
    ModelSummary model;
    model.architecture = node["architecture"].one_of({"lfm2", "lfm2moe"});
    model.name = read_text(node["name"]);
    const bool moe = model.architecture == "lfm2moe";
    model.n_layer = whole(node["n_layer"], 1, kMaxLayers);
    model.n_layer_dense = whole(node["n_layer_dense"], moe ? 0 : model.n_layer, model.n_layer);
    model.n_embd = whole(node["n_embd"], 1, kMaxWidth);
    model.n_vocab = whole(node["n_vocab"], 1, kMaxWidth);
    model.n_expert = whole(node["n_expert"], moe ? 1 : 0, moe ? kMaxExperts : 0);
    model.n_expert_used = whole(node["n_expert_used"], moe ? 1 : 0, model.n_expert);
    model.weights = read_bytes(node["weights_bytes"]);
    model.tensors = node["tensors"].text();
    return model;
}

PlanMachine read_machine(const JsonNode& node) {
    require_keys(node, {"name", "measured_at", "identity", "device"});
    PlanMachine machine;
    machine.name = read_text(node["name"]);
    machine.measured_at = read_text(node["measured_at"]);
    const JsonNode identity = node["identity"];
    identity.require_object("an object of texts");
    for (const auto& [part, value] : identity.json().items()) {
        if (part.empty() || clean_text(part) != part)
            identity.fail("keys of 1 to 4096 bytes without control characters", "another");
        machine.identity.parts[part] = read_text(identity[part]);
    }
    const JsonNode device = node["device"];
    if (device.exists() && device.json().is_null()) return machine;
    device.require_object("a device or null");
    require_keys(device, {"name", "backend", "memory_bytes"});
    machine.device_name = read_text(device["name"]);
    if (machine.device_name.empty()) device["name"].fail("a text that is not empty");
    machine.device_backend = device["backend"].one_of({"cuda", "hip", "vulkan", "sim", "emulated"});
    machine.device_memory = read_bytes(device["memory_bytes"]);
    return machine;
}

DType read_cache_type(const JsonNode& node) { return *dtype_from_name(node.one_of({"F32", "F16", "Q8_0"})); }

void read_request(Plan& plan, const JsonNode& node) {
    require_keys(node, {"n_ctx", "n_batch", "n_outputs", "n_rewind", "n_sequences", "n_saved", "n_shared_ctx",
                        "cache_type_k", "cache_type_v", "vram_budget_bytes", "ram_budget_bytes", "depth", "routing"});
    plan.sizes.n_ctx = whole(node["n_ctx"], 1, kMaxPlanTokens);
    plan.sizes.n_batch = whole(node["n_batch"], 1, kMaxPlanBatch);
    plan.sizes.n_outputs = whole(node["n_outputs"], 1, plan.sizes.n_batch);
    plan.sizes.n_rewind = whole(node["n_rewind"], 0, plan.sizes.n_batch);
    plan.sizes.n_sequences =
        whole(node["n_sequences"], 1,
              std::min({plan.sizes.n_batch, kMaxPlanSequences, std::max(1u, kMaxPlanTokens / plan.sizes.n_ctx)}));
    plan.sizes.n_saved = whole(node["n_saved"], 0, kMaxPlanSaved);
    plan.sizes.n_shared_ctx = whole(node["n_shared_ctx"], 0, kMaxPlanTokens);
    plan.sizes.kv = {read_cache_type(node["cache_type_k"]), read_cache_type(node["cache_type_v"])};
    // Without a device its memory is 0, and so the budget.
    plan.vram_budget = read_bytes(node["vram_budget_bytes"], plan.machine.device_memory.value);
    plan.ram_budget = read_bytes(node["ram_budget_bytes"]);
    plan.depth = whole(node["depth"], 0, kMaxPlanTokens);
    plan.routing = read_text(node["routing"]);
}

/// Where something may be on the device, a budget for it is there.
DeviceId read_budgeted_place(const Plan& plan, const JsonNode& node) {
    const DeviceId place = read_place(node);
    if (place != kHost && plan.vram_budget.value == 0) node.fail("host, as request.vram_budget_bytes is 0");
    return place;
}

/// Numbers of experts; the entries of plan.experts are set. How many there are.
std::uint32_t read_experts(Plan& plan, const JsonNode& node, std::uint32_t layer, std::uint32_t most) {
    const std::uint32_t n_expert = plan.model.n_expert;
    node.require_array(most > 0 ? "numbers of experts, each once" : "no experts: none, or not of a layer at home there",
                       0, most);
    for (std::size_t i = 0; i < node.json().size(); ++i) {
        const std::uint32_t expert = whole(node[i], 0, n_expert - 1);
        DeviceId& place = plan.experts[std::size_t{layer} * n_expert + expert];
        if (place != kHost) node[i].fail("each expert once", std::to_string(expert) + " again");
        place = kDevice;
    }
    return static_cast<std::uint32_t>(node.json().size());
}

/// All experts of a MoE layer, each once.
void read_order(Plan& plan, const JsonNode& node, std::uint32_t layer) {
    const std::size_t n_expert = layer >= plan.model.n_layer_dense ? plan.model.n_expert : 0;
    node.require_array("every expert of the layer once", n_expert, n_expert);
    std::vector<bool> seen(n_expert);
    for (std::size_t i = 0; i < n_expert; ++i) {
        const std::uint32_t expert = whole(node[i], 0, static_cast<std::uint32_t>(n_expert) - 1);
        if (seen[expert]) node[i].fail("each expert once", std::to_string(expert) + " again");
        seen[expert] = true;
        plan.by_use[layer][i] = expert;
    }
}

void read_layer(Plan& plan, const JsonNode& node, std::uint32_t layer) {
    require_keys(node, {"layer", "home", "reason", "experts_on_device", "n_slots", "prefill_streamed", "experts_by_use",
                        "experts_reason"});
    whole(node["layer"], layer, layer);
    plan.layers[layer] = read_budgeted_place(plan, node["home"]);
    const bool may_have = plan.layers[layer] != kHost && layer >= plan.model.n_layer_dense;
    const std::uint32_t most = may_have ? plan.model.n_expert : 0;
    const std::uint32_t n_others = most - read_experts(plan, node["experts_on_device"], layer, most);
    plan.n_slots[layer] = whole(node["n_slots"], 0, n_others);
    plan.n_streamed[layer] = whole(node["prefill_streamed"], 0, n_others);
    if (node["experts_by_use"].exists()) read_order(plan, node["experts_by_use"], layer);
}

/// Texts of all layers, or of none.
std::vector<std::string> read_reasons(const JsonNode& layers, std::string_view key) {
    std::vector<std::string> reasons;
    const bool expected = layers[0][key].exists();
    for (std::size_t i = 0; i < layers.json().size(); ++i) {
        const JsonNode reason = layers[i][key];
        if (expected)
            reasons.push_back(read_text(reason));
        else if (reason.exists())
            reason.fail("nothing, as layer 0 has none");
    }
    return reasons;
}

void read_placement(Plan& plan, const JsonNode& node) {
    require_keys(node, {"embedding", "output", "output_reason", "n_staged", "layers"});
    plan.embedding = read_budgeted_place(plan, node["embedding"]);
    plan.output = read_budgeted_place(plan, node["output"]);
    plan.output_reason = read_text(node["output_reason"]);
    constexpr std::uint32_t kMostStaged = 1 << 16;
    plan.n_staged = whole(node["n_staged"], 0, kMostStaged);
    const std::uint32_t n_layer = plan.model.n_layer;
    const JsonNode layers = node["layers"];
    layers.require_array(std::to_string(n_layer) + " layers as model.n_layer says", n_layer, n_layer);
    plan.layers.assign(n_layer, kHost);
    plan.experts.assign(std::size_t{n_layer} * plan.model.n_expert, kHost);
    plan.n_slots.assign(n_layer, 0);
    plan.n_streamed.assign(n_layer, 0);
    plan.by_use = experts_by_number(plan.model);
    for (std::uint32_t layer = 0; layer < n_layer; ++layer) read_layer(plan, layers[layer], layer);
    plan.layer_reasons = read_reasons(layers, "reason");
    plan.expert_reasons = read_reasons(layers, "experts_reason");
}

void check_memory(const Plan& plan, const JsonNode& node) {
    if (plan.memory.empty() && !plan.uses_device()) return;
    // Every weight is somewhere.
    Bytes weights;
    for (const MemoryLine& line : plan.memory)
        for (const MemoryUse use :
             {MemoryUse::kEmbedding, MemoryUse::kOutput, MemoryUse::kOperators, MemoryUse::kFfn, MemoryUse::kExperts})
            if (line.use == use) weights += line.bytes;
    if (weights < plan.model.weights)
        node.fail("at least model.weights_bytes, " + std::to_string(plan.model.weights.value) + ", of weights",
                  std::to_string(weights.value));
    const auto within = [&](DeviceId device, const char* key, Bytes budget) {
        if (plan.used(device) > budget)
            node.fail("at most request." + std::string(key) + ", " + std::to_string(budget.value) + ", on the " +
                          place_name(device),
                      std::to_string(plan.used(device).value));
    };
    within(kDevice, "vram_budget_bytes", plan.vram_budget);
    within(kHost, "ram_budget_bytes", plan.ram_budget);
}

void read_memory(Plan& plan, const JsonNode& node) {
    constexpr std::size_t kMaxLines = 2 * (static_cast<std::size_t>(MemoryUse::kContext) + 1);
    node.require_array("at most one line for each device and use", 0, kMaxLines);
    for (std::size_t i = 0; i < node.json().size(); ++i) {
        const JsonNode entry = node[i];
        require_keys(entry, {"device", "use", "bytes"});
        const DeviceId device = read_place(entry["device"]);
        const auto use = memory_use_from_name(read_text(entry["use"]));
        if (!use) entry["use"].fail("a use of memory, such as " + std::string(memory_use_name(MemoryUse::kExperts)));
        for (const MemoryLine& line : plan.memory)
            if (line.device == device && line.use == *use) entry.fail("one line for each device and use", "another");
        plan.memory.push_back({device, *use, read_bytes(entry["bytes"])});
    }
    check_memory(plan, node);
}

Prediction read_tokens_per_second(const JsonNode& node) {
    require_keys(node, {"low", "mid", "high"});
    const double low = node["low"].number(0, kMostPerSecond);
    const double mid = node["mid"].number(low, kMostPerSecond);
    return {low, mid, node["high"].number(mid, kMostPerSecond)};
}

TimeParts read_time(const JsonNode& node) {
    node.require_object("seconds by part");
    TimeParts time;
    for (const auto& [key, value] : node.json().items())
        if (!time_part_from_name(key)) node[key].fail("a part of a step's time", "another");
    for (std::size_t i = 0; i < kTimeParts; ++i)
        time.part[i] = node[time_part_name(static_cast<TimePart>(i))].number(0, kMostSeconds);
    return time;
}

void read_prediction(Plan& plan, const JsonNode& node) {
    require_keys(node, {"decode_tokens_per_s", "prefill_tokens_per_s", "decode_time_s", "alternatives"});
    plan.decode = read_tokens_per_second(node["decode_tokens_per_s"]);
    plan.prefill = read_tokens_per_second(node["prefill_tokens_per_s"]);
    plan.decode_time = read_time(node["decode_time_s"]);
    const double tokens = plan.decode.mid * plan.decode_time.total();
    if (plan.decode.mid > 0 && !(std::abs(tokens - 1) < 0.01))
        node["decode_time_s"].fail("parts that add up to the time of a token, " + std::to_string(1 / plan.decode.mid),
                                   std::to_string(plan.decode_time.total()));
    const JsonNode alternatives = node["alternatives"];
    alternatives.require_array("at most 64 alternatives", 0, 64);
    for (std::size_t i = 0; i < alternatives.json().size(); ++i) {
        const JsonNode entry = alternatives[i];
        require_keys(entry, {"name", "decode_tokens_per_s"});
        plan.alternatives.push_back({read_text(entry["name"]), entry["decode_tokens_per_s"].number(0, kMostPerSecond)});
    }
}

}  // namespace

std::optional<MemoryUse> memory_use_from_name(std::string_view name) {
    for (int i = 0; i <= static_cast<int>(MemoryUse::kContext); ++i)
        if (name == memory_use_name(static_cast<MemoryUse>(i))) return static_cast<MemoryUse>(i);
    return std::nullopt;
}

std::optional<TimePart> time_part_from_name(std::string_view name) {
    for (std::size_t i = 0; i < kTimeParts; ++i)
        if (name == time_part_name(static_cast<TimePart>(i))) return static_cast<TimePart>(i);
    return std::nullopt;
}

Plan parse_plan(std::string_view text, std::string_view source) {
    const auto json = parse_profile_json(text, source);
    const JsonNode root(json, source);
    require_head(root, kPlanFormatName, kPlanFormatVersion);
    require_keys(root,
                 {"format", "version", "model", "machine", "request", "placement", "memory", "prediction", "remarks"});
    Plan plan;
    plan.model = read_model(root["model"]);
    plan.machine = read_machine(root["machine"]);
    read_request(plan, root["request"]);
    read_placement(plan, root["placement"]);
    read_memory(plan, root["memory"]);
    read_prediction(plan, root["prediction"]);
    const JsonNode remarks = root["remarks"];
    remarks.require_array("at most 1024 remarks", 0, 1024);
    for (std::size_t i = 0; i < remarks.json().size(); ++i) plan.remarks.push_back(read_text(remarks[i]));
    return plan;
}

}  // namespace lfm
