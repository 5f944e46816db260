// Plans for tiny models by a real machine's profile, whose fixed costs are scaled down as the models are.
#pragma once

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <variant>

#include "planner/cost/placement.h"
#include "planner/machine/machine_json.h"
#include "planner/plan/make_plan.h"
#include "tests/program_folder.h"

namespace lfm::test {

inline MachinePart machine_part(const std::string& name) {
    const std::string path = profiles_folder() / (name + ".json");
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return parse_machine_part(text.str(), path);
}

/// An RTX 4060 Ti beside DDR5, for models of a few MiB. `context`: what the device takes for itself; `backend`: the
/// name that plans use for DeviceNeeds.
inline MachineProfile scaled_machine(Bytes context, const char* backend = "sim") {
    const MachinePart parts[] = {machine_part("host/ddr5-5600"), machine_part("gpu/rtx-4060-ti-16gb")};
    MachineProfile machine = merge_parts(parts, nullptr);
    constexpr double kScale = 1e-3;
    DeviceProfile& device = machine.devices.front();
    for (Figure* figure : {&device.operation_us, &device.handshake_us, &device.copy_us, &machine.host.operation_us})
        figure->stated *= kScale;
    device.context = context;
    device.backend = backend;
    return machine;
}

/// The budget at `share` of the way from the least (0) to what the whole model takes (1).
inline Bytes budget_at(double share, const ModelDescription& model, const MachineProfile& machine,
                       const SessionSizes& sizes) {
    const auto none = make_plan(model, machine, {.sizes = sizes, .vram_budget = Bytes{1}});
    const Bytes least = std::get<Shortfall>(none).needed;
    const Bytes most = std::get<Plan>(make_plan(model, machine, {.sizes = sizes})).used(kDevice);
    const double more = static_cast<double>(most.value) - static_cast<double>(least.value);
    return {least.value + static_cast<std::uint64_t>(share * more)};
}

/// What the device cannot multiply moves to the host: layers with their state, single layers' experts, the output.
/// Predictions and memory lines of the plan are then no longer true.
inline Plan with_supported_only(Plan plan, const ModelDescription& model, const Backend& device) {
    const auto keep_or_move = [&](DeviceId& place, std::initializer_list<const TensorRef*> tensors) {
        for (const TensorRef* tensor : tensors)
            if (!device.supports(tensor->type)) place = kHost;
    };
    keep_or_move(plan.embedding, {&model.token_embd});
    keep_or_move(plan.output, {&model.output_or_tied()});
    for (std::uint32_t i = 0; i < model.hyper.n_layer; ++i) {
        const LayerDescription& layer = model.layers[i];
        if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer))
            keep_or_move(plan.layers[i], {&attention->q, &attention->k, &attention->v, &attention->output});
        else
            keep_or_move(plan.layers[i], {&std::get<ShortConvTensors>(layer.mixer).in_proj,
                                          &std::get<ShortConvTensors>(layer.mixer).out_proj});
        if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
            keep_or_move(plan.layers[i], {&dense->gate, &dense->up, &dense->down});
            continue;
        }
        const auto& moe = std::get<MoeTensors>(layer.ffn);
        keep_or_move(plan.layers[i], {&moe.router});
        DeviceId experts = kDevice;
        keep_or_move(experts, {&moe.gate, &moe.up, &moe.down});
        if (experts != kHost) continue;
        const auto first = plan.experts.begin() + static_cast<std::ptrdiff_t>(i) * model.hyper.n_expert;
        std::fill_n(first, model.hyper.n_expert, kHost);
        plan.n_slots[i] = 0;
        plan.n_streamed[i] = 0;
    }
    return plan;
}

}  // namespace lfm::test
