#include "runtime/layer_program.h"

#include <string>

namespace lfm {
namespace {

MatmulArgs multiply(RowsView x, const WeightView& weight, RowsView out) {
    return {.x = x, .outputs = {MatmulOutput{weight, out}}, .n_outputs = 1};
}

/// A view of the same memory with narrower rows, for layers smaller than the widest.
RowsView narrowed(RowsView rows, std::uint32_t n_cols) { return {rows.data, n_cols}; }

/// branch = attention(normed)
void add_attention(std::vector<Operation>& operations, const LayerProgramInputs& in, std::uint32_t layer,
                   const AttentionWeights& weights) {
    const Activations& a = in.activations;
    const std::uint32_t n_kv = weights.n_head_kv * in.hyper.head_dim;
    const RowsView k = narrowed(a.k, n_kv);
    const RowsView v = narrowed(a.v, n_kv);
    operations.push_back(
        MatmulArgs{.x = a.normed,
                   .outputs = {MatmulOutput{weights.q, a.q}, MatmulOutput{weights.k, k}, MatmulOutput{weights.v, v}},
                   .n_outputs = 3});
    operations.push_back(QkNormRopeArgs{.q = a.q,
                                        .k = k,
                                        .q_norm = weights.q_norm,
                                        .k_norm = weights.k_norm,
                                        .head_dim = in.hyper.head_dim,
                                        .eps = in.hyper.rms_eps});
    operations.push_back(KvAppendArgs{.k = k, .v = v, .cache = in.state.kv(layer)});
    operations.push_back(AttentionArgs{.q = a.q, .cache = in.state.kv(layer), .out = a.attended});
    operations.push_back(multiply(a.attended, weights.output, a.branch));
}

/// branch = short convolution(normed)
void add_short_conv(std::vector<Operation>& operations, const LayerProgramInputs& in, std::uint32_t layer,
                    const ShortConvWeights& weights) {
    const Activations& a = in.activations;
    operations.push_back(multiply(a.normed, weights.in_proj, a.bcx));
    operations.push_back(ShortConvArgs{.bcx = a.bcx,
                                       .taps = weights.taps,
                                       .l_cache = in.hyper.l_cache,
                                       .state = in.state.conv(layer),
                                       .out = a.normed});
    operations.push_back(multiply(a.normed, weights.out_proj, a.branch));
}

/// branch = down(silu(gate · normed) ⊙ up · normed)
void add_dense(std::vector<Operation>& operations, const LayerProgramInputs& in, const DenseWeights& weights) {
    const Activations& a = in.activations;
    const RowsView gate = narrowed(a.gate, weights.gate.n_out);
    const RowsView up = narrowed(a.up, weights.up.n_out);
    operations.push_back(MatmulArgs{
        .x = a.normed, .outputs = {MatmulOutput{weights.gate, gate}, MatmulOutput{weights.up, up}}, .n_outputs = 2});
    operations.push_back(SwigluArgs{.gate = gate, .up = up, .out = gate});
    operations.push_back(multiply(gate, weights.down, a.branch));
}

/// branch = Σ of the chosen experts
void add_moe(std::vector<Operation>& operations, const LayerProgramInputs& in, std::uint32_t layer,
             const MoeWeights& weights) {
    const Activations& a = in.activations;
    const std::uint32_t moe_layer = layer - in.hyper.n_layer_dense;
    const ExpertChoice choice = a.choices[moe_layer];
    operations.push_back(RouteArgs{.x = a.normed,
                                   .router = weights.router,
                                   .bias = weights.bias,
                                   .n_expert_used = in.hyper.n_expert_used,
                                   .scale = in.hyper.expert_weights_scale,
                                   .moe_layer = moe_layer,
                                   .out = choice});
    operations.push_back(ExpertFfnArgs{.x = a.normed,
                                       .layer = LayerId{layer},
                                       .experts = &in.weights.experts(),
                                       .gate_type = weights.gate_type,
                                       .up_type = weights.up_type,
                                       .down_type = weights.down_type,
                                       .n_ff = in.hyper.n_ff_exp,
                                       .n_expert_used = in.hyper.n_expert_used,
                                       .choice = choice,
                                       .out = a.branch});
}

DeviceSegment make_layer(const LayerProgramInputs& in, std::uint32_t layer) {
    const Activations& a = in.activations;
    const LayerWeights& weights = in.weights.layer(layer);
    const float eps = in.hyper.rms_eps;
    DeviceSegment segment{"blk." + std::to_string(layer), in.plan.layers[layer], {}};
    auto& operations = segment.operations;

    operations.push_back(RmsNormArgs{.x = a.hidden, .weight = weights.attn_norm, .eps = eps, .out = a.normed});
    if (const auto* attention = std::get_if<AttentionWeights>(&weights.mixer))
        add_attention(operations, in, layer, *attention);
    else
        add_short_conv(operations, in, layer, std::get<ShortConvWeights>(weights.mixer));
    operations.push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});

    operations.push_back(RmsNormArgs{.x = a.hidden, .weight = weights.ffn_norm, .eps = eps, .out = a.normed});
    if (const auto* dense = std::get_if<DenseWeights>(&weights.ffn))
        add_dense(operations, in, *dense);
    else
        add_moe(operations, in, layer, std::get<MoeWeights>(weights.ffn));
    operations.push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});
    return segment;
}

}  // namespace

std::vector<DeviceSegment> make_layer_program(const LayerProgramInputs& in) {
    const Activations& a = in.activations;
    std::vector<DeviceSegment> program;
    program.push_back({"embed", in.plan.embedding, {EmbedArgs{.table = in.weights.token_embd(), .out = a.hidden}}});
    for (std::uint32_t layer = 0; layer < in.hyper.n_layer; ++layer) program.push_back(make_layer(in, layer));

    // Only the rows that are asked for get logits: the head is as wide as the vocabulary.
    MatmulArgs head = multiply(a.last, in.weights.output(), a.logits);
    head.rows = RowSet::kOutputs;
    program.push_back({"output",
                       in.plan.output,
                       {CopyArgs{.parts = {RowsCopy{a.hidden, a.last}}, .n_parts = 1, .rows = RowSet::kOutputs},
                        RmsNormArgs{.x = a.last,
                                    .weight = in.weights.output_norm(),
                                    .eps = in.hyper.rms_eps,
                                    .out = a.last,
                                    .rows = RowSet::kOutputs},
                        head}});
    return program;
}

}  // namespace lfm
