#include "runtime/step/layer_program.h"

#include <algorithm>

namespace lfm {
namespace {

MatmulArgs multiply(RowsView x, const WeightView& weight, RowsView out) {
    return {.x = x, .outputs = {MatmulOutput{weight, out}}, .n_outputs = 1};
}

/// A view of the same memory with narrower rows, for layers smaller than the widest.
RowsView narrowed(RowsView rows, std::uint32_t n_cols) { return {rows.data, n_cols}; }

CopyArgs copy(RowsView x, RowsView out) { return {.parts = {RowsCopy{x, out}}, .n_parts = 1}; }

/// A choice's two arrays as rows, to be copied.
RowsView id_rows(const ExpertChoice& choice, std::uint32_t n_used) {
    return {reinterpret_cast<float*>(choice.ids), n_used};
}
RowsView weight_rows(const ExpertChoice& choice, std::uint32_t n_used) { return {choice.weights, n_used}; }

class Builder {
public:
    explicit Builder(const LayerProgramInputs& inputs) : in_(inputs) {}

    std::vector<Stage> build();

private:
    using Operations = std::vector<Operation>;

    void begin(const std::string& name, DeviceId side, std::uint32_t layer);
    void go_to(DeviceId side, const std::string& name, std::uint32_t layer);
    void wait_for(std::uint32_t stage) { stages_.back().after.push_back(stage); }
    std::uint32_t current() const { return static_cast<std::uint32_t>(stages_.size() - 1); }
    Operations& operations() { return stages_.back().operations; }
    const Activations& rows(DeviceId side) const { return in_.rows.of(side); }
    const BridgeRows& bridge(DeviceId side) const { return in_.rows.bridge(side); }

    void add_layer(std::uint32_t layer);
    void add_attention(const Activations& a, std::uint32_t layer, const AttentionWeights& weights);
    void add_short_conv(const Activations& a, std::uint32_t layer, const ShortConvWeights& weights);
    void add_dense(const Activations& a, const DenseWeights& weights);
    void add_moe(DeviceId home, std::uint32_t layer, const MoeWeights& weights);
    void add_experts_beside_device(std::uint32_t layer, const MoeWeights& weights);
    void add_experts_beside_host(std::uint32_t layer, const MoeWeights& weights);
    ExpertFfnArgs experts(std::uint32_t layer, const MoeWeights& weights, RowsView x, const ExpertChoice& choice,
                          RowsView out) const;
    StagedExperts staged(std::uint32_t layer, std::uint32_t round, DeviceId side) const;
    bool all_experts_at(std::uint32_t layer, DeviceId home) const;
    std::uint32_t moe_index(std::uint32_t layer) const { return layer - in_.hyper.n_layer_dense; }
    void add_output();

    const LayerProgramInputs& in_;
    std::vector<Stage> stages_;
    DeviceId side_ = kHost;  // where `hidden` is
};

void Builder::begin(const std::string& name, DeviceId side, std::uint32_t layer) {
    stages_.push_back({.name = name, .device = side, .layer = layer});
}

/// Begins a stage. When the side changes, `hidden` crosses by a stage of its own on each device at the edge, which
/// copies; the host works on the shared rows themselves.
void Builder::go_to(DeviceId side, const std::string& name, std::uint32_t layer) {
    if (side == side_) return begin(name, side, layer);
    if (side_ != kHost) {
        begin(name + " edge", side_, layer);
        operations().push_back(copy(rows(side_).hidden, bridge(side_).hidden));
    }
    const std::uint32_t before = current();
    if (side != kHost) {
        begin(name + " edge", side, layer);
        wait_for(before);
        operations().push_back(copy(bridge(side).hidden, rows(side).hidden));
    }
    begin(name, side, layer);
    if (side == kHost) wait_for(before);
    side_ = side;
}

/// branch = attention(normed)
void Builder::add_attention(const Activations& a, std::uint32_t layer, const AttentionWeights& weights) {
    const std::uint32_t n_kv = weights.n_head_kv * in_.hyper.head_dim;
    const RowsView k = narrowed(a.k, n_kv);
    const RowsView v = narrowed(a.v, n_kv);
    operations().push_back(
        MatmulArgs{.x = a.normed,
                   .outputs = {MatmulOutput{weights.q, a.q}, MatmulOutput{weights.k, k}, MatmulOutput{weights.v, v}},
                   .n_outputs = 3});
    operations().push_back(QkNormRopeArgs{.q = a.q,
                                          .k = k,
                                          .q_norm = weights.q_norm,
                                          .k_norm = weights.k_norm,
                                          .head_dim = in_.hyper.head_dim,
                                          .eps = in_.hyper.rms_eps});
    operations().push_back(KvAppendArgs{.k = k, .v = v, .cache = in_.pool.kv(layer)});
    operations().push_back(AttentionArgs{.q = a.q, .cache = in_.pool.kv(layer), .out = a.attended});
    operations().push_back(multiply(a.attended, weights.output, a.branch));
}

/// branch = short convolution(normed)
void Builder::add_short_conv(const Activations& a, std::uint32_t layer, const ShortConvWeights& weights) {
    operations().push_back(multiply(a.normed, weights.in_proj, a.bcx));
    operations().push_back(ShortConvArgs{.bcx = a.bcx,
                                         .taps = weights.taps,
                                         .l_cache = in_.hyper.l_cache,
                                         .ring = in_.pool.conv_rows(layer),
                                         .n_slots = in_.pool.ring().n_slots,
                                         .out = a.normed});
    operations().push_back(multiply(a.normed, weights.out_proj, a.branch));
}

/// branch = down(silu(gate · normed) ⊙ up · normed)
void Builder::add_dense(const Activations& a, const DenseWeights& weights) {
    const RowsView gate = narrowed(a.gate, weights.gate.n_out);
    const RowsView up = narrowed(a.up, weights.up.n_out);
    operations().push_back(MatmulArgs{
        .x = a.normed, .outputs = {MatmulOutput{weights.gate, gate}, MatmulOutput{weights.up, up}}, .n_outputs = 2});
    operations().push_back(SwigluArgs{.gate = gate, .up = up, .out = gate});
    operations().push_back(multiply(gate, weights.down, a.branch));
}

ExpertFfnArgs Builder::experts(std::uint32_t layer, const MoeWeights& weights, RowsView x, const ExpertChoice& choice,
                               RowsView out) const {
    return {.x = x,
            .layer = LayerId{layer},
            .experts = &in_.experts,
            .gate_type = weights.gate_type,
            .up_type = weights.up_type,
            .down_type = weights.down_type,
            .n_ff = in_.hyper.n_ff_exp,
            .n_expert_used = in_.hyper.n_expert_used,
            .choice = choice,
            .out = out};
}

StagedExperts Builder::staged(std::uint32_t layer, std::uint32_t round, DeviceId side) const {
    const ExpertSizes& sizes = in_.weights.expert_sizes(layer);
    return {.slot_of = bridge(side).slot_of[round],
            .slots = in_.staging.slots,
            .slot_bytes = in_.staging.slot_bytes,
            .up_offset = sizes.up_offset(),
            .down_offset = sizes.down_offset()};
}

bool Builder::all_experts_at(std::uint32_t layer, DeviceId home) const {
    const std::size_t n_expert = in_.hyper.n_expert;
    const auto first = in_.plan.experts.begin() + static_cast<std::ptrdiff_t>(layer * n_expert);
    return std::all_of(first, first + static_cast<std::ptrdiff_t>(n_expert),
                       [&](DeviceId place) { return place == home; }) &&
           (home != kHost || in_.plan.n_slots[layer] == 0);
}

/// hidden += Σ of the chosen experts, wherever they are
void Builder::add_moe(DeviceId home, std::uint32_t layer, const MoeWeights& weights) {
    const Activations& a = rows(home);
    const ExpertChoice& choice = a.choices[moe_index(layer)];
    operations().push_back(RouteArgs{.x = a.normed,
                                     .router = weights.router,
                                     .bias = weights.bias,
                                     .n_expert_used = in_.hyper.n_expert_used,
                                     .scale = in_.hyper.expert_weights_scale,
                                     .moe_layer = moe_index(layer),
                                     .out = choice});
    if (!all_experts_at(layer, home)) {
        if (home == kHost)
            add_experts_beside_host(layer, weights);
        else
            add_experts_beside_device(layer, weights);
        return;
    }
    operations().push_back(experts(layer, weights, a.normed, choice, a.branch));
    operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});
    if (home == kHost) return;
    const ExpertChoice& seen = bridge(home).choices[moe_index(layer)];  // for whoever asks which experts were used
    operations().push_back(copy(id_rows(choice, in_.hyper.n_expert_used), id_rows(seen, in_.hyper.n_expert_used)));
}

/// The layer is at home on the device. The host computes the experts it holds while the device computes its own, then
/// those that travelled; sums in that order: resident, staged by rounds, host.
void Builder::add_experts_beside_device(std::uint32_t layer, const MoeWeights& weights) {
    const DeviceId home = in_.plan.layers[layer];
    const std::string name = stages_.back().name;
    const std::uint32_t n_used = in_.hyper.n_expert_used;
    const Activations& a = rows(home);
    const BridgeRows& shared = bridge(home);
    const BridgeRows& on_host = bridge(kHost);
    const ExpertChoice& choice = a.choices[moe_index(layer)];
    const ExpertChoice& crossing = shared.choices[moe_index(layer)];
    operations().push_back(CopyArgs{
        .parts = {RowsCopy{a.normed, shared.normed}, RowsCopy{id_rows(choice, n_used), id_rows(crossing, n_used)},
                  RowsCopy{weight_rows(choice, n_used), weight_rows(crossing, n_used)}},
        .n_parts = 3});
    const std::uint32_t routed = current();

    stages_.push_back({.name = name + " cold", .order = StageOrder::kBeside, .after = {routed}, .layer = layer});
    const std::uint32_t cold = current();
    ExpertFfnArgs cold_experts =
        experts(layer, weights, on_host.normed, on_host.choices[moe_index(layer)], on_host.others);
    if (in_.staging.n_rounds(layer) > 0) cold_experts.staged.slot_of = in_.staging.travelling(layer);
    operations().push_back(cold_experts);

    begin(name + " hot", home, layer);
    operations().push_back(experts(layer, weights, a.normed, choice, a.branch));
    operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});

    for (std::uint32_t i = 0; i < in_.staging.n_rounds(layer); ++i) {
        const std::uint32_t round = in_.staging.first_round[layer] + i;
        stages_.push_back(
            {.name = name + " streamed", .device = home, .order = StageOrder::kStaged, .layer = layer, .round = round});
        ExpertFfnArgs args = experts(layer, weights, a.normed, choice, a.branch);
        args.set = ExpertSet::kStaged;
        args.staged = staged(layer, round, home);
        operations().push_back(args);
        operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});
    }
    begin(name + " join", home, layer);
    wait_for(cold);
    operations().push_back(AddArgs{.a = a.hidden, .b = shared.others, .out = a.hidden});
}

/// The layer is at home on the host, some of its experts on the device: the mirror image.
void Builder::add_experts_beside_host(std::uint32_t layer, const MoeWeights& weights) {
    const DeviceId device{1};
    const std::string name = stages_.back().name;
    const std::uint32_t n_used = in_.hyper.n_expert_used;
    const Activations& a = rows(kHost);
    const Activations& d = rows(device);
    const BridgeRows& shared = bridge(device);
    operations().push_back(copy(a.normed, bridge(kHost).normed));
    const std::uint32_t routed = current();

    begin(name + " hot", device, layer);
    wait_for(routed);
    const std::uint32_t hot = current();
    const ExpertChoice& crossing = shared.choices[moe_index(layer)];
    const ExpertChoice& choice = d.choices[moe_index(layer)];
    operations().push_back(CopyArgs{
        .parts = {RowsCopy{shared.normed, d.normed}, RowsCopy{id_rows(crossing, n_used), id_rows(choice, n_used)},
                  RowsCopy{weight_rows(crossing, n_used), weight_rows(choice, n_used)}},
        .n_parts = 3});
    operations().push_back(experts(layer, weights, d.normed, choice, d.branch));
    operations().push_back(copy(d.branch, shared.others));

    begin(name + " cold", kHost, layer);
    operations().push_back(experts(layer, weights, a.normed, a.choices[moe_index(layer)], a.branch));
    operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});
    begin(name + " join", kHost, layer);
    wait_for(hot);
    operations().push_back(AddArgs{.a = a.hidden, .b = bridge(kHost).others, .out = a.hidden});
}

void Builder::add_layer(std::uint32_t layer) {
    const DeviceId home = in_.plan.layers[layer];
    go_to(home, "blk." + std::to_string(layer), layer);
    const Activations& a = rows(home);
    const LayerWeights& weights = in_.weights.layer(layer);
    const float eps = in_.hyper.rms_eps;

    operations().push_back(RmsNormArgs{.x = a.hidden, .weight = weights.attn_norm, .eps = eps, .out = a.normed});
    if (const auto* attention = std::get_if<AttentionWeights>(&weights.mixer))
        add_attention(a, layer, *attention);
    else
        add_short_conv(a, layer, std::get<ShortConvWeights>(weights.mixer));
    operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});

    operations().push_back(RmsNormArgs{.x = a.hidden, .weight = weights.ffn_norm, .eps = eps, .out = a.normed});
    if (const auto* moe = std::get_if<MoeWeights>(&weights.ffn)) return add_moe(home, layer, *moe);
    add_dense(a, std::get<DenseWeights>(weights.ffn));
    operations().push_back(AddArgs{.a = a.hidden, .b = a.branch, .out = a.hidden});
}

/// Only the rows that are asked for get logits: the head is as wide as the vocabulary.
void Builder::add_output() {
    const DeviceId side = in_.plan.output;
    go_to(side, "output", in_.hyper.n_layer);
    const Activations& a = rows(side);
    MatmulArgs head = multiply(a.last, in_.weights.output(), side == kHost ? a.logits : bridge(side).logits);
    head.rows = RowSet::kOutputs;
    operations().push_back(CopyArgs{.parts = {RowsCopy{a.hidden, a.last}}, .n_parts = 1, .rows = RowSet::kOutputs});
    operations().push_back(RmsNormArgs{.x = a.last,
                                       .weight = in_.weights.output_norm(),
                                       .eps = in_.hyper.rms_eps,
                                       .out = a.last,
                                       .rows = RowSet::kOutputs});
    operations().push_back(head);
}

std::vector<Stage> Builder::build() {
    side_ = in_.plan.embedding;
    begin("embed", side_, 0);
    operations().push_back(EmbedArgs{.table = in_.weights.token_embd(), .out = rows(side_).hidden});
    for (std::uint32_t layer = 0; layer < in_.hyper.n_layer; ++layer) add_layer(layer);
    add_output();
    return std::move(stages_);
}

}  // namespace

std::vector<Stage> make_layer_program(const LayerProgramInputs& inputs) { return Builder(inputs).build(); }

}  // namespace lfm
