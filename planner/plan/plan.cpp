#include "planner/plan/plan.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "memory/fnv1a.h"

namespace lfm {
namespace {

class Digest {
public:
    void add(std::string_view text) {
        hash_.add(text);
        hash_.add(0xffu);
    }
    void add(std::uint64_t number) {
        for (int i = 0; i < 8; ++i) hash_.add(static_cast<std::uint32_t>(number >> 8 * i & 0xff));
    }
    std::string text() const {
        char digits[17];
        std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash_.value()));
        return digits;
    }

private:
    Fnv1a hash_;
};

std::string difference(std::string_view what, const std::string& planned, const std::string& found) {
    return std::string(what) + ": the plan says " + planned + ", found " + found;
}

}  // namespace

ModelSummary summarise(const ModelDescription& model) {
    const HyperParameters& hyper = model.hyper;
    Digest digest;
    for (const TensorRef* tensor : all_tensors(model)) {
        digest.add(tensor->name);
        digest.add(dtype_name(tensor->type));
        for (const std::uint64_t dim : tensor->dims) digest.add(dim);
    }
    return {.architecture = hyper.architecture,
            .name = hyper.name,
            .n_layer = hyper.n_layer,
            .n_layer_dense = hyper.n_layer_dense,
            .n_embd = hyper.n_embd,
            .n_vocab = hyper.n_vocab,
            .n_expert = hyper.n_expert,
            .n_expert_used = hyper.n_expert_used,
            .weights = weight_bytes(model),
            .tensors = digest.text()};
}

const char* memory_use_name(MemoryUse use) {
    switch (use) {
        case MemoryUse::kEmbedding: return "embedding";
        case MemoryUse::kOutput: return "output";
        case MemoryUse::kOperators: return "operators";
        case MemoryUse::kFfn: return "dense FFN, routers";
        case MemoryUse::kExperts: return "experts";
        case MemoryUse::kExpertSlots: return "expert slots";
        case MemoryUse::kKvCache: return "KV cache";
        case MemoryUse::kConvState: return "conv state";
        case MemoryUse::kVectors: return "vectors in f32";
        case MemoryUse::kActivations: return "activations";
        case MemoryUse::kScratch: return "scratch";
        case MemoryUse::kStaging: return "staging";
        case MemoryUse::kContext: return "driver context";
    }
    return "";
}

Bytes Plan::used(DeviceId device) const {
    Bytes sum;
    for (const MemoryLine& line : memory)
        if (line.device == device) sum += line.bytes;
    return sum;
}

std::uint32_t Plan::n_experts_on(DeviceId device) const {
    const auto first = experts.begin() + static_cast<std::ptrdiff_t>(std::size_t{model.n_layer_dense} * model.n_expert);
    return static_cast<std::uint32_t>(std::count(first, experts.end(), device));
}

bool Plan::uses_device() const {
    const auto elsewhere = [](DeviceId place) { return place != kHost; };
    const auto first = static_cast<std::ptrdiff_t>(std::size_t{model.n_layer_dense} * model.n_expert);
    return elsewhere(embedding) || elsewhere(output) || std::ranges::any_of(layers, elsewhere) ||
           std::any_of(experts.begin() + first, experts.end(), elsewhere) ||
           std::ranges::any_of(n_slots, [](std::uint32_t n) { return n > 0; });
}

std::vector<std::vector<std::uint32_t>> experts_by_number(const ModelSummary& model) {
    std::vector<std::uint32_t> numbers(model.n_expert);
    std::iota(numbers.begin(), numbers.end(), 0u);
    std::vector<std::vector<std::uint32_t>> layers(model.n_layer);
    for (std::size_t i = model.n_layer_dense; i < layers.size(); ++i) layers[i] = numbers;
    return layers;
}

Plan make_host_plan(const ModelDescription& model, const SessionSizes& sizes) {
    const std::size_t n_layer = model.hyper.n_layer;
    Plan plan;
    plan.sizes = sizes;
    plan.layers.assign(n_layer, kHost);
    plan.experts.assign(n_layer * model.hyper.n_expert, kHost);
    plan.n_slots.assign(n_layer, 0);
    plan.n_streamed.assign(n_layer, 0);
    plan.model = summarise(model);
    plan.by_use = experts_by_number(plan.model);
    return plan;
}

std::optional<std::string> mismatch(const Plan& plan, const ModelDescription& model) {
    const ModelSummary& planned = plan.model;
    const ModelSummary found = summarise(model);
    if (planned.architecture != found.architecture)
        return difference("model.architecture", planned.architecture, found.architecture);
    const struct {
        const char* name;
        std::uint64_t planned, found;
    } numbers[] = {{"model.n_layer", planned.n_layer, found.n_layer},
                   {"model.n_layer_dense", planned.n_layer_dense, found.n_layer_dense},
                   {"model.n_embd", planned.n_embd, found.n_embd},
                   {"model.n_vocab", planned.n_vocab, found.n_vocab},
                   {"model.n_expert", planned.n_expert, found.n_expert},
                   {"model.n_expert_used", planned.n_expert_used, found.n_expert_used},
                   {"model.weights_bytes", planned.weights.value, found.weights.value}};
    for (const auto& number : numbers)
        if (number.planned != number.found)
            return difference(number.name, std::to_string(number.planned), std::to_string(number.found));
    if (planned.tensors != found.tensors)
        return difference("model.tensors (types and shapes)", planned.tensors, found.tensors);
    return std::nullopt;
}

std::optional<std::string> mismatch(const Plan& plan, const MachineIdentity& machine) {
    if (plan.machine.measured_at.empty()) return std::nullopt;
    for (const auto& [part, planned] : plan.machine.identity.parts) {
        const auto found = machine.parts.find(part);
        if (found == machine.parts.end()) return difference("machine." + part, planned, "nothing");
        if (found->second != planned) return difference("machine." + part, planned, found->second);
    }
    for (const auto& [part, found] : machine.parts)
        if (!plan.machine.identity.parts.contains(part)) return difference("machine." + part, "nothing", found);
    return std::nullopt;
}

Placement placement_of(const Plan& plan) {
    Placement placement;
    placement.output = plan.output;
    const std::uint32_t n_expert = plan.model.n_expert;
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
        LayerPlacement layer{.home = plan.layers[i], .experts = {.n_resident = 0, .n_slots = plan.n_slots[i]}};
        if (i >= plan.model.n_layer_dense)
            for (std::uint32_t e = 0; e < n_expert; ++e)
                layer.experts.n_resident += plan.experts[i * n_expert + e] != kHost;
        placement.layers.push_back(layer);
    }
    return placement;
}

}  // namespace lfm
