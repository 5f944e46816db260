#include "planner/model/model.h"

#include <algorithm>
#include <map>
#include <string>

#include "memory/error.h"
#include "planner/model/hyper_parameters.h"
#include "planner/model/known_names.h"

namespace lfm {
namespace {

/// Finds tensors of one file and compares their shapes with what the sizes ask for.
class TensorFinder {
public:
    explicit TensorFinder(const GgufFile& file) : file_(file) {}

    std::optional<TensorRef> find(const std::string& name, std::initializer_list<std::uint64_t> dims) const {
        const GgufTensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) return std::nullopt;
        std::array<std::uint64_t, 4> expected{1, 1, 1, 1};
        std::ranges::copy(dims, expected.begin());
        if (tensor->dims != expected)
            fail(name, shape_text({dims.begin(), dims.size()}),
                 shape_text(std::span(tensor->dims).first(tensor->n_dims)));
        return TensorRef{name, tensor->type, tensor->n_dims, tensor->dims, tensor->offset, Bytes{tensor->bytes}};
    }

    TensorRef get(const std::string& name, std::initializer_list<std::uint64_t> dims) const {
        auto tensor = find(name, dims);
        if (!tensor) fail(name, "a tensor " + shape_text({dims.begin(), dims.size()}), "nothing");
        return *std::move(tensor);
    }

    [[noreturn]] void fail(const std::string& name, const std::string& expected, const std::string& found) const {
        throw Error(ErrorCode::kInvalidModel, file_.name() + ": " + name, "expected " + expected + ", found " + found);
    }

private:
    const GgufFile& file_;
};

AttentionTensors find_attention(const TensorFinder& file, const HyperParameters& hyper, const std::string& prefix,
                                std::uint32_t n_head_kv) {
    const std::uint64_t n_q = std::uint64_t{hyper.n_head} * hyper.head_dim;
    const std::uint64_t n_kv = std::uint64_t{n_head_kv} * hyper.head_dim;
    AttentionTensors tensors;
    tensors.n_head_kv = n_head_kv;
    tensors.q = file.get(prefix + "attn_q.weight", {hyper.n_embd, n_q});
    tensors.k = file.get(prefix + "attn_k.weight", {hyper.n_embd, n_kv});
    tensors.v = file.get(prefix + "attn_v.weight", {hyper.n_embd, n_kv});
    tensors.output = file.get(prefix + "attn_output.weight", {n_q, hyper.n_embd});
    tensors.q_norm = file.get(prefix + "attn_q_norm.weight", {hyper.head_dim});
    tensors.k_norm = file.get(prefix + "attn_k_norm.weight", {hyper.head_dim});
    return tensors;
}

ShortConvTensors find_short_conv(const TensorFinder& file, const HyperParameters& hyper, const std::string& prefix) {
    ShortConvTensors tensors;
    tensors.in_proj = file.get(prefix + "shortconv.in_proj.weight", {hyper.n_embd, 3ull * hyper.n_embd});
    tensors.conv = file.get(prefix + "shortconv.conv.weight", {hyper.l_cache, hyper.n_embd});
    tensors.out_proj = file.get(prefix + "shortconv.out_proj.weight", {hyper.n_embd, hyper.n_embd});
    return tensors;
}

MoeTensors find_moe(const TensorFinder& file, const HyperParameters& hyper, const std::string& prefix) {
    MoeTensors tensors;
    tensors.router = file.get(prefix + "ffn_gate_inp.weight", {hyper.n_embd, hyper.n_expert});
    tensors.bias = file.find(prefix + "exp_probs_b.bias", {hyper.n_expert});
    tensors.gate = file.get(prefix + "ffn_gate_exps.weight", {hyper.n_embd, hyper.n_ff_exp, hyper.n_expert});
    tensors.up = file.get(prefix + "ffn_up_exps.weight", {hyper.n_embd, hyper.n_ff_exp, hyper.n_expert});
    tensors.down = file.get(prefix + "ffn_down_exps.weight", {hyper.n_ff_exp, hyper.n_embd, hyper.n_expert});
    return tensors;
}

DenseTensors find_dense(const TensorFinder& file, const HyperParameters& hyper, const std::string& prefix,
                        std::uint32_t n_ff) {
    DenseTensors tensors;
    tensors.n_ff = n_ff;
    tensors.gate = file.get(prefix + "ffn_gate.weight", {hyper.n_embd, n_ff});
    tensors.up = file.get(prefix + "ffn_up.weight", {hyper.n_embd, n_ff});
    tensors.down = file.get(prefix + "ffn_down.weight", {n_ff, hyper.n_embd});
    return tensors;
}

/// The embedding's shape decides n_vocab; `A.vocab_size`, when there, must agree.
TensorRef find_embedding(const GgufFile& file, const TensorFinder& finder, HyperParameters& hyper) {
    const GgufTensor* tensor = file.find_tensor("token_embd.weight");
    if (tensor == nullptr) finder.fail("token_embd.weight", "a tensor", "nothing");
    if (tensor->n_dims != 2 || tensor->dims[1] > kMaxWidth * 16ull)
        finder.fail("token_embd.weight", "[" + std::to_string(hyper.n_embd) + ",n_vocab]",
                    shape_text(std::span(tensor->dims).first(tensor->n_dims)));
    hyper.n_vocab = static_cast<std::uint32_t>(tensor->dims[1]);
    const auto stated = file.find_u32(hyper.architecture + ".vocab_size");
    if (stated && *stated != hyper.n_vocab)
        finder.fail("token_embd.weight", std::to_string(*stated) + " rows as vocab_size says",
                    std::to_string(hyper.n_vocab));
    const GgufEntry* tokens = file.find("tokenizer.ggml.tokens");
    if (tokens != nullptr && tokens->count != hyper.n_vocab)
        finder.fail("tokenizer.ggml.tokens", std::to_string(hyper.n_vocab) + " tokens, one a row of token_embd.weight",
                    std::to_string(tokens->count));
    return finder.get("token_embd.weight", {hyper.n_embd, hyper.n_vocab});
}

TensorRef find_output_norm(const TensorFinder& finder, const HyperParameters& hyper) {
    if (auto norm = finder.find("token_embd_norm.weight", {hyper.n_embd})) return *norm;
    if (auto norm = finder.find("output_norm.weight", {hyper.n_embd})) return *norm;  // the name in some older files
    return finder.get("token_embd_norm.weight", {hyper.n_embd});
}

template <typename Model, typename Visit>
void for_each_tensor(Model& model, Visit visit) {
    visit(model.token_embd);
    for (auto& layer : model.layers) {
        visit(layer.attn_norm);
        if (auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
            for (auto* tensor : {&attention->q, &attention->k, &attention->v, &attention->output, &attention->q_norm,
                                 &attention->k_norm})
                visit(*tensor);
        } else {
            auto& conv = std::get<ShortConvTensors>(layer.mixer);
            for (auto* tensor : {&conv.in_proj, &conv.conv, &conv.out_proj}) visit(*tensor);
        }
        visit(layer.ffn_norm);
        if (auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
            for (auto* tensor : {&dense->gate, &dense->up, &dense->down}) visit(*tensor);
        } else {
            auto& moe = std::get<MoeTensors>(layer.ffn);
            visit(moe.router);
            if (moe.bias) visit(*moe.bias);
            for (auto* tensor : {&moe.gate, &moe.up, &moe.down}) visit(*tensor);
        }
    }
    visit(model.output_norm);
    if (model.output) visit(*model.output);
}

std::uint64_t n_weights(const TensorRef& tensor) {
    return tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
}

}  // namespace

std::string shape_text(std::span<const std::uint64_t> dims) {
    std::string text = "[";
    for (const std::uint64_t dim : dims) text += (text.size() > 1 ? "," : "") + std::to_string(dim);
    return text + "]";
}

std::optional<std::string> context_remark(const HyperParameters& hyper, std::uint32_t n_ctx) {
    if (hyper.n_ctx_train == 0 || n_ctx <= hyper.n_ctx_train) return std::nullopt;
    return "the model was made for " + std::to_string(hyper.n_ctx_train) + " tokens of context, not " +
           std::to_string(n_ctx);
}

ModelDescription describe_model(const GgufFile& file, std::span<const std::string> allowed) {
    ModelDescription model;
    model.hyper = read_hyper_parameters(file);
    HyperParameters& hyper = model.hyper;
    const TensorFinder finder(file);
    model.token_embd = find_embedding(file, finder, hyper);
    model.output = finder.find("output.weight", {hyper.n_embd, hyper.n_vocab});
    model.output_norm = find_output_norm(finder, hyper);
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const std::string prefix = "blk." + std::to_string(i) + ".";
        LayerDescription layer;
        layer.attn_norm = finder.get(prefix + "attn_norm.weight", {hyper.n_embd});
        layer.ffn_norm = finder.get(prefix + "ffn_norm.weight", {hyper.n_embd});
        if (hyper.n_head_kv[i] > 0)
            layer.mixer = find_attention(finder, hyper, prefix, hyper.n_head_kv[i]);
        else
            layer.mixer = find_short_conv(finder, hyper, prefix);
        if (i >= hyper.n_layer_dense)
            layer.ffn = find_moe(finder, hyper, prefix);
        else
            layer.ffn = find_dense(finder, hyper, prefix, hyper.n_ff[i]);
        model.layers.push_back(std::move(layer));
    }
    model.ignored = check_unknown_names(file, model, allowed);
    file.require_unchanged();
    return model;
}

std::vector<const TensorRef*> all_tensors(const ModelDescription& model) {
    std::vector<const TensorRef*> tensors;
    for_each_tensor(model, [&](const TensorRef& tensor) { tensors.push_back(&tensor); });
    return tensors;
}

std::vector<TensorRef*> all_tensors(ModelDescription& model) {
    std::vector<TensorRef*> tensors;
    for_each_tensor(model, [&](TensorRef& tensor) { tensors.push_back(&tensor); });
    return tensors;
}

ParameterCount count_parameters(const ModelDescription& model) {
    ParameterCount count;
    for (const TensorRef* tensor : all_tensors(model)) {
        const std::uint64_t n = n_weights(*tensor);
        count.total += n;
        const bool experts = tensor->n_dims == 3;
        count.active += experts ? n / model.hyper.n_expert * model.hyper.n_expert_used : n;
    }
    return count;
}

Bytes weight_bytes(const ModelDescription& model) {
    Bytes sum;
    for (const TensorRef* tensor : all_tensors(model)) sum += tensor->bytes;
    return sum;
}

Bytes active_weight_bytes(const ModelDescription& model) {
    Bytes sum;
    for (const TensorRef* tensor : all_tensors(model)) {
        if (tensor == &model.token_embd && model.output)
            sum.value += row_bytes(tensor->type, tensor->dims[0]);
        else if (tensor->n_dims == 3)  // experts
            sum.value += tensor->bytes.value / model.hyper.n_expert * model.hyper.n_expert_used;
        else
            sum += tensor->bytes;
    }
    return sum;
}

Bytes expert_bytes(const MoeTensors& moe, std::uint32_t n_expert) {
    Bytes sum;
    for (const auto* tensor : {&moe.gate, &moe.up, &moe.down}) sum.value += tensor->bytes.value / n_expert;
    return sum;
}

DType main_type(const ModelDescription& model) {
    std::map<DType, std::uint64_t> weights;
    for (const TensorRef* tensor : all_tensors(model)) weights[tensor->type] += n_weights(*tensor);
    return std::ranges::max_element(weights, {}, [](const auto& entry) { return entry.second; })->first;
}

}  // namespace lfm
