#include "runtime/weights.h"

#include <cmath>
#include <cstring>

#include "backends/cpu/kernels.h"
#include "memory/error.h"
#include "planner/inventory.h"

namespace lfm {
namespace {

std::uint64_t element_count(const TensorRef& tensor) {
    return tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
}

WeightView matrix(const TensorRef& tensor, std::span<const std::byte> data) {
    return {
        .data = data.data() + tensor.offset,
        .type = tensor.type,
        .n_out = static_cast<std::uint32_t>(tensor.dims[1]),
        .n_in = static_cast<std::uint32_t>(tensor.dims[0]),
        .row_bytes = row_bytes(tensor.type, tensor.dims[0]),
    };
}

/// Copies vectors to f32, side by side in one buffer.
class VectorCopier {
public:
    VectorCopier(std::span<const std::byte> data, std::span<std::byte> to) : data_(data), carver_(to) {}

    const float* copy(const TensorRef& tensor) {
        const std::uint64_t n = element_count(tensor);
        float* to = carver_.take<float>(n);
        cpu::dequantise(tensor.type, data_.data() + tensor.offset, n, to);
        for (std::uint64_t i = 0; i < n; ++i)
            if (!std::isfinite(to[i]))
                throw Error(
                    ErrorCode::kInvalidModel, tensor.name,
                    "expected finite numbers, found " + std::to_string(to[i]) + " at index " + std::to_string(i));
        return to;
    }

private:
    std::span<const std::byte> data_;
    Carver carver_;
};

}  // namespace

Weights::Weights(const ModelDescription& model, const Plan& plan, std::span<const std::byte> data, Ledger& ledger)
    : vectors_(ledger, Purpose::kWeights, vector_bytes(model).value),
      token_embd_(matrix(model.token_embd, data)),
      output_(matrix(model.output_or_tied(), data)),
      experts_(model.hyper.n_layer, model.hyper.n_expert) {
    VectorCopier copier(data, vectors_.bytes());
    output_norm_ = copier.copy(model.output_norm);
    for (std::uint32_t i = 0; i < model.hyper.n_layer; ++i) {
        const LayerDescription& from = model.layers[i];
        LayerWeights layer;
        layer.attn_norm = copier.copy(from.attn_norm);
        layer.ffn_norm = copier.copy(from.ffn_norm);
        if (const auto* attention = std::get_if<AttentionTensors>(&from.mixer)) {
            layer.mixer = AttentionWeights{matrix(attention->q, data),
                                           matrix(attention->k, data),
                                           matrix(attention->v, data),
                                           matrix(attention->output, data),
                                           copier.copy(attention->q_norm),
                                           copier.copy(attention->k_norm),
                                           attention->n_head_kv};
        } else {
            const auto& conv = std::get<ShortConvTensors>(from.mixer);
            layer.mixer =
                ShortConvWeights{matrix(conv.in_proj, data), matrix(conv.out_proj, data), copier.copy(conv.conv)};
        }
        if (const auto* dense = std::get_if<DenseTensors>(&from.ffn)) {
            layer.ffn = DenseWeights{matrix(dense->gate, data), matrix(dense->up, data), matrix(dense->down, data)};
        } else {
            const auto& moe = std::get<MoeTensors>(from.ffn);
            layer.ffn = MoeWeights{matrix(moe.router, data), moe.bias ? copier.copy(*moe.bias) : nullptr, moe.gate.type,
                                   moe.up.type, moe.down.type};
            const std::uint64_t n_expert = model.hyper.n_expert;
            for (std::uint32_t e = 0; e < n_expert; ++e) {
                const auto slice = [&](const TensorRef& tensor) {
                    return data.data() + tensor.offset + tensor.bytes.value / n_expert * e;
                };
                experts_.set({LayerId{i}, e},
                             {plan.experts[i * n_expert + e], slice(moe.gate), slice(moe.up), slice(moe.down)});
            }
        }
        layers_.push_back(layer);
    }
}

}  // namespace lfm
