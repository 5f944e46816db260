// What a model is made of, without its weights: sizes, and for every tensor its type, shape and place in the file.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "memory/dtype.h"
#include "memory/gguf.h"
#include "memory/units.h"

namespace lfm {

/// One tensor: dims[0] is contiguous, unused dims are 1; `offset` counts from the start of the data section.
struct TensorRef {
    std::string name;
    DType type = DType::kF32;
    std::uint32_t n_dims = 0;
    std::array<std::uint64_t, 4> dims{1, 1, 1, 1};
    std::uint64_t offset = 0;
    Bytes bytes;
};

struct AttentionTensors {
    std::uint32_t n_head_kv = 0;
    TensorRef q, k, v,
        output;  // [n_embd, n_head·head_dim], [n_embd, n_head_kv·head_dim] twice, [n_head·head_dim, n_embd]
    TensorRef q_norm, k_norm;  // [head_dim]
};

struct ShortConvTensors {
    TensorRef in_proj;   // [n_embd, 3·n_embd]
    TensorRef conv;      // [l_cache, n_embd]
    TensorRef out_proj;  // [n_embd, n_embd]
};

struct DenseTensors {
    std::uint32_t n_ff = 0;
    TensorRef gate, up, down;  // [n_embd, n_ff] twice, [n_ff, n_embd]
};

struct MoeTensors {
    TensorRef router;               // [n_embd, n_expert]
    std::optional<TensorRef> bias;  // [n_expert], for the selection only
    TensorRef gate, up, down;       // [n_embd, n_ff_exp, n_expert] twice, [n_ff_exp, n_embd, n_expert]
};

struct LayerDescription {
    TensorRef attn_norm, ffn_norm;  // [n_embd]
    std::variant<ShortConvTensors, AttentionTensors> mixer;
    std::variant<DenseTensors, MoeTensors> ffn;

    bool is_attention() const { return std::holds_alternative<AttentionTensors>(mixer); }
    bool is_moe() const { return std::holds_alternative<MoeTensors>(ffn); }
};

/// Sizes that hold for the whole model, by GGUF's names.
struct HyperParameters {
    std::string architecture;  // "lfm2" or "lfm2moe"
    std::string name;          // general.name
    std::uint32_t n_layer = 0;
    std::uint32_t n_embd = 0;
    std::uint32_t n_head = 0;
    std::uint32_t head_dim = 0;
    std::vector<std::uint32_t> n_head_kv;  // [n_layer]; 0 marks a short-conv layer
    std::vector<std::uint32_t> n_ff;       // [n_layer]; of dense layers
    std::uint32_t n_vocab = 0;
    std::uint32_t n_ctx_train = 0;
    std::uint32_t l_cache = 0;  // taps of the short convolution
    float rope_freq_base = 0;
    float rms_eps = 0;
    std::uint32_t n_expert = 0;  // 0: a dense model
    std::uint32_t n_expert_used = 0;
    std::uint32_t n_ff_exp = 0;
    std::uint32_t n_layer_dense = 0;  // leading layers with a dense FFN
    float expert_weights_scale = 1;
};

struct ModelDescription {
    HyperParameters hyper;
    TensorRef token_embd;             // [n_embd, n_vocab]
    std::optional<TensorRef> output;  // [n_embd, n_vocab]; absent: tied to token_embd
    TensorRef output_norm;            // [n_embd]
    std::vector<LayerDescription> layers;
    std::vector<std::string> ignored;  // keys and tensors that could change the result, not computed with as allowed

    const TensorRef& output_or_tied() const { return output ? *output : token_embd; }
};

/// Reads and checks everything the forward pass relies on. Throws Error{kUnsupportedModel} for another architecture or
/// a variant we do not compute, told by a key or tensor that is not known (known_names.h) and that no pattern of
/// `allowed` matches; Error{kInvalidModel} naming key or tensor, expected and found.
ModelDescription describe_model(const GgufFile& file, std::span<const std::string> allowed = {});

/// "the model was made for 128000 tokens of context, not 200000"; nothing where it was made for as many, or does not
/// say.
std::optional<std::string> context_remark(const HyperParameters& hyper, std::uint32_t n_ctx);

/// "[64,2]", as messages show dims.
std::string shape_text(std::span<const std::uint64_t> dims);

/// Every tensor of the description, in file order of a new file: embedding, layers, final norm, output.
std::vector<const TensorRef*> all_tensors(const ModelDescription& model);
std::vector<TensorRef*> all_tensors(ModelDescription& model);

/// Weights in all tensors, and those a token uses (embedding once, n_expert_used of n_expert).
struct ParameterCount {
    std::uint64_t total = 0;
    std::uint64_t active = 0;
};
ParameterCount count_parameters(const ModelDescription& model);

/// Bytes of all tensors.
Bytes weight_bytes(const ModelDescription& model);

/// Bytes of weights that one decoded token reads: n_expert_used of n_expert experts, one row of an embedding that is
/// not also the output.
Bytes active_weight_bytes(const ModelDescription& model);

/// Of one expert: gate, up and down.
Bytes expert_bytes(const MoeTensors& moe, std::uint32_t n_expert);

/// The type that holds most weights, as in "Q4_K"; for display.
DType main_type(const ModelDescription& model);

}  // namespace lfm
