#include "planner/plan/plan_reasons.h"

#include <cstdio>

namespace lfm {
namespace {

std::string microseconds(double seconds) {
    char text[32];
    const double us = seconds * 1e6;
    std::snprintf(text, sizeof text, us < 10 ? "%.1f us" : "%.0f us", us);
    return text;
}

/// What it takes on either side.
std::string compared(double device, double host) {
    return microseconds(device) + " a token there, " + microseconds(host) + " in RAM";
}

std::string layer_reason(const Plan& plan, std::uint32_t layer, const Placement& placement, const DecodeCost& cost) {
    const double host = cost.host_layer(layer).total();
    const LayerPlacement& place = placement.layers[layer];
    if (place.home != kHost) return "on the device: " + compared(cost.device_layer(layer, place.experts).total(), host);
    if (plan.vram_budget.value == 0) return "in RAM: no device is used";
    const double device = cost.device_layer(layer, {}).total();
    if (device >= host) return "in RAM: the device would not be faster: " + compared(device, host);
    return "in RAM: the budget serves other layers better; " + compared(device, host);
}

std::string expert_reason(const Plan& plan, std::uint32_t layer, const Placement& placement, const DecodeCost& cost,
                          const LayerInventory& inventory) {
    if (inventory.n_expert == 0) return {};
    const LayerPlacement& place = placement.layers[layer];
    if (place.home == kHost)
        return plan.vram_budget.value == 0 ? "in RAM: no device is used" : "in RAM: the layer's router is there";
    const std::uint32_t n = place.experts.n_resident;
    const auto gain = [&](std::uint32_t from) {
        const double less = cost.device_layer(layer, {from, place.experts.n_slots}).total();
        return less - cost.device_layer(layer, {from + 1, place.experts.n_slots}).total();
    };
    std::string text;
    if (n > 0)
        text = std::to_string(n) + " most used on the device: the last of them saves " + microseconds(gain(n - 1)) +
               " a token for " + format_bytes(inventory.expert);
    if (n == inventory.n_expert) return text;
    if (n > 0) text += "; ";
    const double next = gain(n);
    text += std::to_string(inventory.n_expert - n) + " in RAM: ";
    text += next > 0 ? "the next would save " + microseconds(next) + ", less than what the budget holds"
                     : std::string("on the device they would save nothing");
    return text;
}

}  // namespace

void add_reasons(Plan& plan, const Placement& placement, const DecodeCost& cost, const Inventory& inventory) {
    for (std::uint32_t i = 0; i < placement.layers.size(); ++i) {
        plan.layer_reasons.push_back(layer_reason(plan, i, placement, cost));
        plan.expert_reasons.push_back(expert_reason(plan, i, placement, cost, inventory.layers[i]));
    }
    const double host = cost.output(kHost).total(), device = cost.output(kDevice).total();
    if (placement.output != kHost)
        plan.output_reason = "on the device: " + compared(device, host);
    else if (plan.vram_budget.value == 0)
        plan.output_reason = "in RAM: no device is used";
    else
        plan.output_reason = "in RAM: the budget serves layers better; " + compared(device, host);
}

}  // namespace lfm
