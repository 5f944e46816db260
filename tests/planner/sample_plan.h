// Plans of every kind, and what makes two of them equal.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "planner/plan/plan_json.h"
#include "tests/planner/sample_machine.h"

namespace lfm::test {

/// A new member of Plan breaks the build here: it must be written to the JSON file, too.
inline auto fields(const Plan& plan) {
    const auto& [sizes, embedding, output, layers, experts, n_slots, n_streamed, n_staged, by_use, layer_reasons,
                 expert_reasons, output_reason, remarks, model, machine, vram_budget, ram_budget, routing, depth,
                 memory, decode, prefill, decode_time, alternatives] = plan;
    const auto& [n_ctx, n_batch, n_outputs, n_rewind, kv, n_sequences, n_saved, n_shared_ctx] = sizes;
    return std::tie(n_ctx, n_batch, n_outputs, n_rewind, kv.k, kv.v, n_sequences, n_saved, n_shared_ctx, embedding, output, layers, experts, n_slots,
                    n_streamed, n_staged, by_use, layer_reasons, expert_reasons, output_reason, remarks, model, machine,
                    vram_budget, ram_budget, routing, depth, memory, decode, prefill, decode_time.part, alternatives);
}

struct NamedPlan {
    std::string name;
    Plan plan;
};

inline MachineProfile sample_profile() {
    const MachinePart part = sample_part();
    return merge_parts({&part, 1}, nullptr);
}

inline constexpr const char* kSmallMoe =
    "lfm2moe,n_layer=5,n_embd=256,n_head=4,n_vocab=2000,n_expert=16,n_expert_used=2,n_ff_exp=256,n_layer_dense=2:"
    "Q4_0";

inline Plan plan_of(const std::string& shape, const MachineProfile& machine, PlanRequest request) {
    if (request.sizes.n_ctx == 0) request.sizes.n_ctx = 2048;
    return std::get<Plan>(make_plan(describe_shape(shape), machine, request));
}

/// Some of its experts on the device, slots for others, some that travel in prefill.
inline Plan slots_plan() {
    PlanRequest request;
    request.routing = skewed_routing(describe_shape("lfm2-24b-a2b:Q4_0").hyper, 0.6, 0.6);
    return plan_of("lfm2-24b-a2b:Q4_0", sample_profile(), request);
}

/// Small; layers on both sides, one whose experts are on both sides. Placed by hand: whatever the cost model says.
inline Plan small_plan() {
    PlanRequest request;
    request.sizes = {.n_ctx = 512, .n_batch = 64, .n_outputs = 2, .kv = {DType::kQ8_0, DType::kF16}};
    request.vram_budget = Bytes{400'500'000};
    request.ram_budget = Bytes{1'000'000'000};
    request.depth = 100;
    Plan plan = plan_of(kSmallMoe, sample_profile(), request);
    constexpr DeviceId kCard{1};
    plan.output = plan.embedding = kHost;
    plan.layers = {kCard, kCard, kCard, kHost, kHost};
    plan.experts.assign(std::size_t{5} * 16, kHost);
    plan.experts[2 * 16] = plan.experts[2 * 16 + 1] = kCard;
    plan.n_slots = {0, 0, 0, 0, 0};
    plan.n_streamed = {0, 0, 4, 0, 0};
    return plan;
}

inline std::vector<NamedPlan> sample_plans() {
    MachineProfile datasheets = sample_profile(), alone = sample_profile(), shared = sample_profile();
    datasheets.measured_at.clear();
    datasheets.devices.push_back(sample_device());
    alone.devices.clear();
    shared.devices[0].memory_kind = DeviceMemory::kSharedWithHost;
    PlanRequest none, part;
    none.vram_budget = Bytes{0};
    part.vram_budget = Bytes{1'000'000'000};
    return {
        {"dense model", plan_of("lfm2-2.6b:Q4_K_M", sample_profile(), part)},
        {"dense model, separate output", plan_of("lfm2,output=separate:Q8_0", sample_profile(), {})},
        {"small MoE split", small_plan()},
        {"slots", slots_plan()},
        {"part of the experts", plan_of("lfm2-8b-a1b:Q4_0", datasheets, part)},
        {"CPU by budget", plan_of("lfm2-8b-a1b:Q4_K_M", sample_profile(), none)},
        {"CPU alone", plan_of("lfm2-24b-a2b:Q4_0", alone, {})},
        {"shared memory", plan_of("lfm2-24b-a2b:Q4_0", shared, {})},
        {"no layer has experts", plan_of("lfm2moe,n_layer_dense=4:F16", sample_profile(), {})},
        {"without a profile", make_host_plan(describe_shape(kSmallMoe), {.n_ctx = 64})},
    };
}

}  // namespace lfm::test
