// Plans to JSON.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "memory/error.h"
#include "planner/json/json_file.h"
#include "planner/plan/plan_json.h"
#include "planner/plan/plan_json_names.h"

namespace lfm {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ModelSummary& model) {
    return {{"architecture", clean_text(model.architecture)},
            {"name", clean_text(model.name)},
            {"n_layer", model.n_layer},
            {"n_layer_dense", model.n_layer_dense},
            {"n_embd", model.n_embd},
            {"n_vocab", model.n_vocab},
            {"n_expert", model.n_expert},
            {"n_expert_used", model.n_expert_used},
            {"weights_bytes", model.weights.value},
            {"tensors", clean_text(model.tensors)}};
}

Json to_json(const PlanMachine& machine) {
    if (machine.identity.parts.size() > kMaxIdentityParts)
        throw Error(ErrorCode::kInvalidInput, "machine.identity",
                    "expected at most " + std::to_string(kMaxIdentityParts) + " parts to write, found " +
                        std::to_string(machine.identity.parts.size()));
    Json identity = Json::object();
    for (const auto& [part, value] : machine.identity.parts) identity[clean_text(part)] = clean_text(value);
    Json json{{"name", clean_text(machine.name)},
              {"measured_at", clean_text(machine.measured_at)},
              {"identity", identity},
              {"device", nullptr}};
    if (!machine.device_name.empty())
        json["device"] = {{"name", clean_text(machine.device_name)},
                          {"backend", clean_text(machine.device_backend)},
                          {"memory_bytes", machine.device_memory.value}};
    return json;
}

Json request_json(const Plan& plan) {
    return {{"n_ctx", plan.sizes.n_ctx},
            {"n_batch", plan.sizes.n_batch},
            {"n_outputs", plan.sizes.n_outputs},
            {"n_rewind", plan.sizes.n_rewind},
            {"n_sequences", plan.sizes.n_sequences},
            {"n_saved", plan.sizes.n_saved},
            {"n_shared_ctx", plan.sizes.n_shared_ctx},
            {"cache_type_k", std::string(dtype_name(plan.sizes.kv.k))},
            {"cache_type_v", std::string(dtype_name(plan.sizes.kv.v))},
            {"vram_budget_bytes", plan.vram_budget.value},
            {"ram_budget_bytes", plan.ram_budget.value},
            {"depth", plan.depth},
            {"routing", clean_text(plan.routing)}};
}

Json layer_json(const Plan& plan, std::uint32_t layer) {
    Json json{{"layer", layer}, {"home", place_name(plan.layers[layer])}};
    if (!plan.layer_reasons.empty()) json["reason"] = clean_text(plan.layer_reasons[layer]);
    Json experts = Json::array();
    const std::size_t first = std::size_t{layer} * plan.model.n_expert;
    for (std::uint32_t expert = 0; expert < plan.model.n_expert && layer >= plan.model.n_layer_dense; ++expert)
        if (plan.experts[first + expert] != kHost) experts.push_back(expert);
    json["experts_on_device"] = experts;
    json["n_slots"] = plan.n_slots[layer];
    json["prefill_streamed"] = plan.n_streamed[layer];
    const std::vector<std::uint32_t>& by_use = plan.by_use[layer];
    if (!std::ranges::is_sorted(by_use)) json["experts_by_use"] = by_use;
    if (!plan.expert_reasons.empty()) json["experts_reason"] = clean_text(plan.expert_reasons[layer]);
    return json;
}

Json placement_json(const Plan& plan) {
    Json layers = Json::array();
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer) layers.push_back(layer_json(plan, layer));
    return {{"embedding", place_name(plan.embedding)},
            {"output", place_name(plan.output)},
            {"output_reason", clean_text(plan.output_reason)},
            {"n_staged", plan.n_staged},
            {"layers", layers}};
}

Json memory_json(const Plan& plan) {
    Json lines = Json::array();
    for (const MemoryLine& line : plan.memory)
        lines.push_back(
            {{"device", place_name(line.device)}, {"use", memory_use_name(line.use)}, {"bytes", line.bytes.value}});
    return lines;
}

Json to_json(const Prediction& prediction) {
    return {{"low", prediction.low}, {"mid", prediction.mid}, {"high", prediction.high}};
}

Json prediction_json(const Plan& plan) {
    Json time = Json::object(), alternatives = Json::array();
    for (std::size_t i = 0; i < kTimeParts; ++i)
        time[time_part_name(static_cast<TimePart>(i))] = plan.decode_time.part[i];
    for (const Alternative& alternative : plan.alternatives)
        alternatives.push_back({{"name", clean_text(alternative.name)}, {"decode_tokens_per_s", alternative.decode}});
    return {{"decode_tokens_per_s", to_json(plan.decode)},
            {"prefill_tokens_per_s", to_json(plan.prefill)},
            {"decode_time_s", time},
            {"alternatives", alternatives}};
}

}  // namespace

const char* place_name(DeviceId device) { return device == kHost ? "host" : "device"; }

std::string to_json(const Plan& plan) {
    Json remarks = Json::array();
    for (const std::string& remark : plan.remarks) remarks.push_back(clean_text(remark));
    return json_text({{"format", kPlanFormatName},
                      {"version", kPlanFormatVersion},
                      {"model", to_json(plan.model)},
                      {"machine", to_json(plan.machine)},
                      {"request", request_json(plan)},
                      {"placement", placement_json(plan)},
                      {"memory", memory_json(plan)},
                      {"prediction", prediction_json(plan)},
                      {"remarks", remarks}});
}

}  // namespace lfm
