#include "planner/cost/inventory.h"

#include <algorithm>

#include "backends/needs/conv_ring.h"
#include "planner/cost/device_needs.h"
#include "planner/cost/pieces.h"

namespace lfm {
namespace {

std::uint64_t n_elements(const TensorRef& tensor) {
    return tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
}

std::uint32_t widest_ff(const HyperParameters& hyper) {
    return hyper.n_layer_dense > 0 ? std::ranges::max(hyper.n_ff) : 0;
}

LayerInventory take_layer(const HyperParameters& hyper, const LayerDescription& layer, const SessionSizes& sizes) {
    LayerInventory inventory;
    inventory.mixer = layer.attn_norm.bytes;
    if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
        for (const auto* tensor :
             {&attention->q, &attention->k, &attention->v, &attention->output, &attention->q_norm, &attention->k_norm})
            inventory.mixer += tensor->bytes;
        inventory.kv = kv_bytes(hyper, attention->n_head_kv, sizes.kv, sizes.n_kv_rows());
    } else {
        const auto& conv = std::get<ShortConvTensors>(layer.mixer);
        for (const auto* tensor : {&conv.in_proj, &conv.conv, &conv.out_proj}) inventory.mixer += tensor->bytes;
        inventory.conv_state = {std::uint64_t{sizes.n_conv_rows(hyper.l_cache)} * hyper.n_embd * sizeof(float)};
    }
    inventory.ffn = layer.ffn_norm.bytes;
    if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
        for (const auto* tensor : {&dense->gate, &dense->up, &dense->down}) inventory.ffn += tensor->bytes;
    } else {
        const auto& moe = std::get<MoeTensors>(layer.ffn);
        inventory.ffn += moe.router.bytes;
        if (moe.bias) inventory.ffn += moe.bias->bytes;
        inventory.n_expert = hyper.n_expert;
        inventory.expert = expert_bytes(moe, hyper.n_expert);
    }
    return inventory;
}

void add_choices(Pieces& pieces, const HyperParameters& hyper, std::uint64_t n_batch) {
    const std::uint64_t n_moe_layer = hyper.n_layer - hyper.n_layer_dense;
    for (std::uint64_t i = 0; i < 2 * n_moe_layer; ++i) pieces.add(n_batch * hyper.n_expert_used, 4);  // ids, weights
}

/// Rows between operations; the logits' apart.
void add_rows(Pieces& pieces, const HyperParameters& hyper, const SessionSizes& sizes) {
    const std::uint64_t n_q = std::uint64_t{hyper.n_head} * hyper.head_dim;
    const std::uint64_t n_kv = std::uint64_t{std::ranges::max(hyper.n_head_kv)} * hyper.head_dim;
    const std::uint64_t n_ff = widest_ff(hyper), n_embd = hyper.n_embd;
    for (const std::uint64_t n_cols : {n_embd, n_embd, n_embd, n_q, n_kv, n_kv, n_q, 3 * n_embd, n_ff, n_ff})
        pieces.add(sizes.n_batch * n_cols, sizeof(float));
    pieces.add(sizes.n_outputs * n_embd, sizeof(float));
    add_choices(pieces, hyper, sizes.n_batch);
}

Bytes device_activation_bytes(const HyperParameters& hyper, const SessionSizes& sizes) {
    Pieces pieces;
    add_rows(pieces, hyper, sizes);
    return pieces.bytes();
}

Bytes activation_bytes(const HyperParameters& hyper, const SessionSizes& sizes) {
    const std::uint64_t n_batch = sizes.n_batch, n_used = n_batch * hyper.n_expert_used;
    Pieces pieces;
    add_rows(pieces, hyper, sizes);
    pieces.add(std::uint64_t{sizes.n_outputs} * hyper.n_vocab, sizeof(float));
    // A step's parameters.
    pieces.add(n_batch, sizeof(std::int32_t));
    pieces.add(sizes.n_outputs, sizeof(std::uint32_t));
    pieces.add(n_batch * hyper.head_dim, sizeof(float));
    pieces.add((hyper.n_layer - hyper.n_layer_dense) * n_used, sizeof(std::int32_t));
    return pieces.bytes();
}

Bytes bridge_bytes(const HyperParameters& hyper, const SessionSizes& sizes) {
    Pieces pieces;
    for (int i = 0; i < 3; ++i) pieces.add(std::uint64_t{sizes.n_batch} * hyper.n_embd, sizeof(float));
    pieces.add(std::uint64_t{sizes.n_outputs} * hyper.n_vocab, sizeof(float));
    add_choices(pieces, hyper, sizes.n_batch);
    return pieces.bytes();
}

}  // namespace

Bytes Inventory::weights() const {
    Bytes sum = embedding + output + output_norm;
    for (const LayerInventory& layer : layers) sum += layer.mixer + layer.ffn + layer.experts();
    return sum;
}

Bytes Inventory::kv() const {
    Bytes sum;
    for (const LayerInventory& layer : layers) sum += layer.kv;
    return sum;
}

Bytes Inventory::conv_state() const {
    Bytes sum;
    for (const LayerInventory& layer : layers) sum += layer.conv_state;
    return sum;
}

Bytes vector_bytes(const ModelDescription& model) {
    Pieces pieces;
    const auto add = [&](const TensorRef& tensor) { pieces.add(n_elements(tensor), sizeof(float)); };
    add(model.output_norm);
    for (const LayerDescription& layer : model.layers) {
        add(layer.attn_norm);
        add(layer.ffn_norm);
        if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
            add(attention->q_norm);
            add(attention->k_norm);
        } else {
            add(std::get<ShortConvTensors>(layer.mixer).conv);
        }
        if (const auto* moe = std::get_if<MoeTensors>(&layer.ffn); moe != nullptr && moe->bias) add(*moe->bias);
    }
    return pieces.bytes();
}

Bytes kv_bytes(const HyperParameters& hyper, std::uint32_t n_head_kv, KvTypes types, std::uint32_t n_rows) {
    const std::uint64_t n = std::uint64_t{n_head_kv} * hyper.head_dim;
    Pieces pieces;
    pieces.add(row_bytes(types.k, n), n_rows);
    pieces.add(row_bytes(types.v, n), n_rows);
    return pieces.bytes();
}

Inventory take_inventory(const ModelDescription& model, const SessionSizes& sizes) {
    Inventory inventory;
    inventory.embedding = model.token_embd.bytes;
    if (model.output) inventory.output = model.output->bytes;
    inventory.output_norm = model.output_norm.bytes;
    for (const LayerDescription& layer : model.layers)
        inventory.layers.push_back(take_layer(model.hyper, layer, sizes));
    inventory.activations = activation_bytes(model.hyper, sizes);
    inventory.device_activations = device_activation_bytes(model.hyper, sizes);
    inventory.bridge = bridge_bytes(model.hyper, sizes);
    inventory.scratch = cpu_scratch(model.hyper, operation_sizes(model, device_placement(model)), sizes.n_batch);
    inventory.vectors = vector_bytes(model);
    return inventory;
}

}  // namespace lfm
