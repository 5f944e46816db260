#include "planner/cost/device_needs.h"

#include <algorithm>
#include <initializer_list>

#include "backends/needs/gpu_needs.h"
#include "backends/needs/kv_pages.h"
#include "backends/needs/vulkan_needs.h"
#include "planner/cost/pieces.h"

namespace lfm {
namespace {

using needs::round_up;

// Weights, experts, KV cache, conv state, rows, rows that cross, staged experts.
constexpr std::uint64_t kPlacedBlocks = 7;
// Where a driver's blocks are not larger, weights take several.
constexpr std::uint64_t kLargestBlock = std::uint64_t{1} << 30;

bool is_quantised(DType type) { return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16; }

/// The areas of one block, as in backends/device/scratch.h.
class Areas {
public:
    void add(std::uint64_t size) { bytes_ += needs::scratch_area(size); }
    /// Activations in blocks of 32 bytes, with a scale and two sums each.
    void add_quantised(std::uint64_t n_rows, std::uint64_t n_cols) {
        const std::uint64_t n_blocks = n_rows * (n_cols / 32);
        add(n_blocks * 32);
        add(n_blocks * 4);
        add(n_blocks * 4);
    }
    /// Of a MoE layer: the router's scores, choices and weights, rows by expert, and what experts leave. `n_in_order`
    /// addresses; `n_hidden` rows of hidden values a pair.
    void add_experts(const HyperParameters& hyper, std::uint64_t n_batch, std::uint64_t n_in_order,
                     std::uint64_t n_hidden) {
        const std::uint64_t n_pairs = n_batch * hyper.n_expert_used;
        add(n_batch * hyper.n_expert * sizeof(float));
        add(2 * n_pairs * sizeof(std::uint32_t));
        add(needs::kMirroredExpertBytes * n_in_order + 4 * (std::uint64_t{hyper.n_expert} + 1));
        for (std::uint64_t i = 0; i < n_hidden; ++i) add(n_pairs * hyper.n_ff_exp * sizeof(float));
        add(n_pairs * hyper.n_embd * sizeof(float));
    }
    std::uint64_t bytes() const { return bytes_; }

private:
    std::uint64_t bytes_ = 0;
};

std::uint64_t vulkan_block(std::uint64_t size) {
    return size > 0 ? round_up(size + needs::vulkan::kSpare, needs::vulkan::kUnit) : 0;
}

struct GpuUnits {
    std::uint64_t device = needs::gpu::kUnit, pinned = needs::gpu::kPinnedUnit;

    std::uint64_t block(std::uint64_t size) const { return size > 0 ? round_up(size + needs::gpu::kSpare, device) : 0; }
    /// Of the device, with pinned memory beside it.
    std::uint64_t mirrored(std::uint64_t size) const {
        return size > 0 ? block(size) + round_up(size + needs::gpu::kSpare, pinned) : 0;
    }
};

/// Activations in blocks of 32, as in backends/cpu/kernels/kernels.h.
void add_quantised(Pieces& pieces, std::uint64_t n_rows, std::uint64_t n) { pieces.add(n_rows * (n / 32 | 1), 40); }

void include(OperationSizes& sizes, std::initializer_list<const TensorRef*> matrices) {
    for (const TensorRef* matrix : matrices) {
        sizes.n_input = std::max(sizes.n_input, matrix->dims[0]);
        if (is_quantised(matrix->type)) sizes.n_quantised_input = std::max(sizes.n_quantised_input, matrix->dims[0]);
    }
}

void include(OperationSizes& sizes, const LayerDescription& layer, std::uint32_t moe_layer) {
    if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
        include(sizes, {&attention->q, &attention->k, &attention->v, &attention->output});
        sizes.attends = true;
    } else {
        const auto& conv = std::get<ShortConvTensors>(layer.mixer);
        include(sizes, {&conv.in_proj, &conv.out_proj});
        sizes.n_between = std::max(sizes.n_between, conv.in_proj.dims[0]);
    }
    if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
        sizes.n_between = std::max(sizes.n_between, dense->gate.dims[1]);
        return include(sizes, {&dense->gate, &dense->up, &dense->down});
    }
    const auto& moe = std::get<MoeTensors>(layer.ffn);
    include(sizes, {&moe.router, &moe.gate, &moe.up});
    if (is_quantised(moe.down.type)) sizes.n_quantised_ff = std::max(sizes.n_quantised_ff, moe.down.dims[0]);
    sizes.n_routed = std::max(sizes.n_routed, moe_layer + 1);
    sizes.computes_experts = true;
}

/// What a matrix takes more than in the file.
std::uint64_t rest_of(const TensorRef& matrix) {
    return round_up(matrix.bytes.value, needs::kArenaPiece) - matrix.bytes.value;
}

/// Likewise a vector, which is f32 wherever it lies.
std::uint64_t rest_of_vector(const TensorRef& vector) {
    const std::uint64_t taken = round_up(vector.dims[0] * vector.dims[1] * sizeof(float), needs::kArenaPiece);
    return taken - std::min(taken, vector.bytes.value);
}

std::uint64_t rest_of_layer(const LayerDescription& layer) {
    std::uint64_t rest = rest_of_vector(layer.attn_norm) + rest_of_vector(layer.ffn_norm);
    if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
        rest += rest_of_vector(attention->q_norm) + rest_of_vector(attention->k_norm);
        for (const auto* matrix : {&attention->q, &attention->k, &attention->v, &attention->output})
            rest += rest_of(*matrix);
    } else {
        const auto& conv = std::get<ShortConvTensors>(layer.mixer);
        rest += rest_of(conv.in_proj) + rest_of(conv.out_proj) + rest_of_vector(conv.conv);
    }
    if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
        for (const auto* matrix : {&dense->gate, &dense->up, &dense->down}) rest += rest_of(*matrix);
    } else {
        const auto& moe = std::get<MoeTensors>(layer.ffn);
        rest += rest_of(moe.router) + (moe.bias ? rest_of_vector(*moe.bias) : 0);
    }
    return rest;
}

/// One place for an expert of the layer (runtime/tensors/weights.h: ExpertSizes).
std::uint64_t slot_bytes(const LayerDescription& layer, std::uint32_t n_expert) {
    const auto& moe = std::get<MoeTensors>(layer.ffn);
    std::uint64_t bytes = 0;
    for (const auto* matrix : {&moe.gate, &moe.up, &moe.down})
        bytes += round_up(matrix->bytes.value / n_expert, needs::kArenaPiece);
    return bytes;
}

}  // namespace

Placement device_placement(const ModelDescription& model) {
    Placement placement = host_placement(model.layers.size());
    placement.output = kDevice;
    for (std::size_t i = 0; i < model.layers.size(); ++i)
        placement.layers[i] = {kDevice, {model.layers[i].is_moe() ? model.hyper.n_expert : 0, 0}};
    return placement;
}

OperationSizes operation_sizes(const ModelDescription& model, const Placement& placement) {
    OperationSizes sizes;
    for (std::uint32_t i = 0; i < placement.layers.size(); ++i)
        if (placement.layers[i].home != kHost) include(sizes, model.layers[i], i - model.hyper.n_layer_dense);
    if (placement.output != kHost) include(sizes, {&model.output_or_tied()});
    return sizes;
}

Bytes cpu_scratch(const HyperParameters& hyper, const OperationSizes& sizes, std::uint64_t n_batch) {
    const std::uint64_t n_expert = sizes.computes_experts ? hyper.n_expert : 0;
    const std::uint64_t n_pairs = sizes.computes_experts ? n_batch * hyper.n_expert_used : 0;
    Pieces pieces;
    add_quantised(pieces, n_batch, sizes.n_input);
    pieces.add(n_batch * n_expert, sizeof(float));
    pieces.add(n_pairs, 4);
    pieces.add(n_pairs, 4);
    pieces.add(n_expert + 1, 4);
    pieces.add(n_expert, 4);
    pieces.add(n_pairs * hyper.n_ff_exp, sizeof(float));
    pieces.add(n_pairs * hyper.n_ff_exp, sizeof(float));
    add_quantised(pieces, n_pairs, hyper.n_ff_exp);
    pieces.add(n_pairs * hyper.n_embd, sizeof(float));
    return pieces.bytes();
}

/// Of all pairs, what lies quantised between an expert's matrices.
std::uint64_t DeviceNeeds::hidden_values(const OperationSizes& work) const {
    if (!work.computes_experts) return 0;
    return sizes_.n_batch * model_.hyper.n_expert_used * (work.n_quantised_ff / 32 * 32);
}

Bytes DeviceNeeds::vulkan_scratch(const OperationSizes& work) const {
    const HyperParameters& hyper = model_.hyper;
    const std::uint64_t n_expert = hyper.n_expert;
    Areas areas;
    areas.add_quantised(sizes_.n_batch, work.n_quantised_input);
    if (work.computes_experts)
        areas.add_experts(hyper, sizes_.n_batch, std::max(hyper.n_expert, hyper.n_expert_used), 1);
    areas.add_quantised(1, hidden_values(work));
    const std::uint64_t n_splits = needs::vulkan::most_splits(sizes_.n_ctx, sizes_.n_sequences);
    if (work.attends && n_splits > 1) areas.add(n_splits * hyper.n_head * needs::vulkan::split_bytes(hyper.head_dim));

    Pieces grids;
    grids.add(step_header_bytes(), 1);
    grids.add(needs::vulkan::kMostGrids, needs::vulkan::kGridBytes);
    const std::uint64_t step = (grids.bytes() + step_bytes(work)).value;
    const std::uint64_t table = work.computes_experts ? needs::kMirroredExpertBytes * hyper.n_layer * n_expert : 0;
    return {vulkan_block(areas.bytes()) + vulkan_block(step) + vulkan_block(table)};
}

Bytes DeviceNeeds::gpu_scratch(const OperationSizes& work) const {
    const HyperParameters& hyper = model_.hyper;
    const std::uint64_t n_expert = hyper.n_expert;
    Areas areas;
    areas.add_quantised(sizes_.n_batch, work.n_quantised_input);
    if (work.computes_experts) areas.add_experts(hyper, sizes_.n_batch, n_expert, 2);
    areas.add_quantised(1, std::max(hidden_values(work), std::uint64_t{work.n_between}));
    if (work.attends)
        areas.add(needs::gpu::most_splits(sizes_.n_ctx, sizes_.n_sequences) * hyper.n_head *
                  needs::gpu::split_bytes(hyper.head_dim));
    Pieces header;
    header.add(step_header_bytes(), 1);
    header.add(needs::gpu::kMostTickets, sizeof(std::uint32_t));
    const std::uint64_t table = work.computes_experts ? needs::kMirroredExpertBytes * hyper.n_layer * n_expert : 0;
    const GpuUnits units =
        kind_ == Kind::kGpu ? GpuUnits{} : GpuUnits{needs::gpu::kEmulatedUnit, needs::gpu::kEmulatedUnit};
    return {units.block(areas.bytes()) + units.mirrored((header.bytes() + step_bytes(work)).value) +
            units.mirrored(table)};
}

std::uint64_t DeviceNeeds::step_header_bytes() const {
    return needs::kStepHeaderBytes + needs::kStepSequenceBytes * sizes_.n_sequences;
}

/// As backends/device/step_image.cpp lays it out.
Bytes DeviceNeeds::step_bytes(const OperationSizes& work) const {
    Pieces step;
    // Tokens, outputs, rows of the cache, sequences of the rows.
    for (int i = 0; i < 4; ++i) step.add(sizes_.n_batch, sizeof(std::uint32_t));
    step.add(sizes_.n_sequences, needs::kStepPageCopyBytes);
    step.add(std::uint64_t{sizes_.n_sequences} * n_kv_pages(sizes_.n_ctx), sizeof(std::uint32_t));
    for (std::uint32_t i = 0; i < sizes_.n_sequences; ++i) step.add(1, 1);  // each sequence's pages are aligned
    step.add(std::uint64_t{sizes_.n_batch} * (work.attends ? model_.hyper.head_dim : 0), sizeof(float));
    step.add(std::uint64_t{work.n_routed} * sizes_.n_batch * model_.hyper.n_expert_used, sizeof(std::int32_t));
    return step.bytes();
}

Bytes DeviceNeeds::other_scratch(const OperationSizes& work) const {
    return cpu_scratch(model_.hyper, work, sizes_.n_batch) + step_bytes(work);
}

/// The most that a block takes beside what is asked for.
Bytes DeviceNeeds::block_rest() const {
    switch (kind_) {
        case Kind::kVulkan: return {needs::vulkan::kSpare + needs::vulkan::kUnit - 1};
        case Kind::kGpu: return {needs::gpu::kSpare + needs::gpu::kUnit - 1};
        case Kind::kEmulatedGpu: return {needs::gpu::kSpare + needs::gpu::kEmulatedUnit - 1};
        default: return {255};
    }
}

Bytes DeviceNeeds::rounding(const Placement& placement) const {
    const std::uint64_t n_blocks = kPlacedBlocks + weight_bytes(model_).value / kLargestBlock;
    std::uint64_t rest = n_blocks * block_rest().value;
    for (std::size_t i = 0; i < placement.layers.size(); ++i) {
        if (placement.layers[i].home == kHost) continue;
        rest += rest_of_layer(model_.layers[i]);
        if (!model_.layers[i].is_moe()) continue;
        const std::uint32_t n_expert = model_.hyper.n_expert;
        const Bytes in_file = expert_bytes(std::get<MoeTensors>(model_.layers[i].ffn), n_expert);
        const std::uint64_t n = placement.layers[i].experts.n_resident + placement.layers[i].experts.n_slots;
        rest += n * (slot_bytes(model_.layers[i], n_expert) - in_file.value);
    }
    if (placement.output != kHost) rest += rest_of(model_.output_or_tied()) + rest_of_vector(model_.output_norm);
    return {rest};
}

Bytes DeviceNeeds::scratch(const Placement& placement) const {
    const OperationSizes work = operation_sizes(model_, placement);
    const Bytes needed = kind_ == Kind::kVulkan  ? vulkan_scratch(work)
                         : kind_ == Kind::kOther ? other_scratch(work)
                                                 : gpu_scratch(work);
    return needed + rounding(placement);
}

Bytes DeviceNeeds::most_scratch() const { return scratch(device_placement(model_)); }

Bytes DeviceNeeds::staging(const Placement& placement, std::span<const std::uint32_t> n_streamed,
                           std::uint32_t n_staged) const {
    const std::uint64_t n_expert = model_.hyper.n_expert;
    const std::uint32_t n_per_round = n_staged / 2;
    std::uint64_t largest = 0, n_rounds = 0, n_slot_blocks = 0;
    for (std::size_t i = 0; i < placement.layers.size(); ++i) {
        const LayerPlacement& layer = placement.layers[i];
        if (layer.home == kHost || !model_.layers[i].is_moe() || layer.experts.n_resident == n_expert) continue;
        n_slot_blocks += layer.experts.n_slots > 0 ? 1 : 0;
        if (n_per_round == 0) continue;
        n_rounds += std::max(1u, (n_streamed[i] + n_per_round - 1) / n_per_round);
        largest = std::max(largest, slot_bytes(model_.layers[i], model_.hyper.n_expert));
    }
    Pieces map;
    map.add(n_expert, sizeof(std::int32_t));
    return {n_staged * largest + n_rounds * map.bytes().value + n_slot_blocks * block_rest().value};
}

Bytes DeviceNeeds::most_staging(std::uint32_t n_staged) const {
    Placement placement = device_placement(model_);
    for (LayerPlacement& layer : placement.layers) layer.experts = {0, 1};
    const std::vector<std::uint32_t> all(placement.layers.size(), model_.hyper.n_expert);
    return staging(placement, all, n_staged);
}

}  // namespace lfm
