#include "planner/model/type_mix.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace lfm {
namespace {

/// `more` takes the place of `base` in some layers' ffn_down and attn_v.
struct Mix {
    DType base;
    DType more;
};

std::optional<Mix> find_mix(std::string_view name) {
    std::string upper(name);
    std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (upper == "Q4_K_M") return Mix{DType::kQ4_K, DType::kQ6_K};
    if (upper == "Q5_K_M") return Mix{DType::kQ5_K, DType::kQ6_K};
    if (upper == "Q3_K_M") return Mix{DType::kQ3_K, DType::kQ5_K};
    if (upper == "Q4_K_S") return Mix{DType::kQ4_K, DType::kQ4_K};
    if (upper == "Q5_K_S") return Mix{DType::kQ5_K, DType::kQ5_K};
    if (const auto type = dtype_from_name(upper)) return Mix{*type, *type};
    return std::nullopt;
}

/// The embedding is Q6_K in every 4- to 6-bit file, and of the file's own type otherwise.
DType embedding_type(DType base) {
    switch (base) {
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16:
        case DType::kQ8_0: return base;
        default: return DType::kQ6_K;
    }
}

/// The nearest type whose block divides the row.
DType fitting(DType type, std::uint64_t n) {
    if (n % dtype_info(type).block_size == 0) return type;
    if (n % 32 != 0) return DType::kF16;
    switch (type) {
        case DType::kQ6_K: return DType::kQ8_0;
        case DType::kQ5_K: return DType::kQ5_1;
        case DType::kQ4_K: return DType::kQ5_0;
        case DType::kIQ4_XS: return DType::kIQ4_NL;
        default: return DType::kQ4_0;
    }
}

/// Whether item i of n is among the first eighth, the last eighth, or every third between: where the mixes spend more.
bool gets_more(std::size_t i, std::size_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

void set_type(TensorRef& tensor, DType type) {
    tensor.type = fitting(type, tensor.dims[0]);
    tensor.bytes = Bytes{row_bytes(tensor.type, tensor.dims[0]) * tensor.dims[1] * tensor.dims[2] * tensor.dims[3]};
}

}  // namespace

bool apply_type_mix(ModelDescription& model, std::string_view name) {
    const auto mix = find_mix(name);
    if (!mix) return false;
    for (TensorRef* tensor : all_tensors(model)) {
        const bool matrix = tensor->n_dims >= 2 && !tensor->name.ends_with("conv.weight") &&
                            !tensor->name.ends_with("ffn_gate_inp.weight");
        set_type(*tensor, matrix ? mix->base : DType::kF32);
    }
    set_type(model.token_embd, embedding_type(mix->base));
    if (model.output) set_type(*model.output, embedding_type(mix->base));

    const auto n_attention =
        static_cast<std::size_t>(std::ranges::count_if(model.layers, &LayerDescription::is_attention));
    std::size_t attention_index = 0;
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
        LayerDescription& layer = model.layers[i];
        if (gets_more(i, model.layers.size())) {
            auto* dense = std::get_if<DenseTensors>(&layer.ffn);
            set_type(dense != nullptr ? dense->down : std::get<MoeTensors>(layer.ffn).down, mix->more);
        }
        if (auto* attention = std::get_if<AttentionTensors>(&layer.mixer))
            if (gets_more(attention_index++, n_attention)) set_type(attention->v, mix->more);
    }
    return true;
}

}  // namespace lfm
