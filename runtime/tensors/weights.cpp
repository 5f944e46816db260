#include "runtime/tensors/weights.h"

#include <cmath>
#include <cstring>

#include "backends/cpu/kernels/kernels.h"
#include "memory/error.h"
#include "planner/cost/inventory.h"

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

/// Matrices and vectors that go to a device: first all sizes, then addresses into the views that name them.
class Mover {
public:
    void move(WeightView& matrix, std::size_t size) { add(matrix.data, size); }
    void move(const float*& vector, std::size_t count) {
        vectors_.push_back({arena_.add(count * sizeof(float)), count * sizeof(float), &vector});
    }

    /// Takes the memory, writes the addresses into the views, and appends the copies to `uploads`.
    DeviceArena finish(Device& device, std::vector<CopyRegion>& uploads) {
        arena_.allocate(device, Purpose::kWeights);
        for (const Matrix& item : matrices_) {
            uploads.push_back({arena_.address(item.piece), *item.data, item.size});
            *item.data = arena_.address(item.piece);
        }
        for (const Vector& item : vectors_) {
            std::byte* address = arena_.address(item.piece);
            uploads.push_back({address, reinterpret_cast<const std::byte*>(*item.data), item.size});
            *item.data = reinterpret_cast<const float*>(address);
        }
        return std::move(arena_);
    }

private:
    struct Matrix {
        std::size_t piece, size;
        const std::byte** data;
    };
    struct Vector {
        std::size_t piece, size;
        const float** data;
    };
    void add(const std::byte*& data, std::size_t size) { matrices_.push_back({arena_.add(size), size, &data}); }

    DeviceArena arena_;
    std::vector<Matrix> matrices_;
    std::vector<Vector> vectors_;
};

std::size_t bytes_of(const WeightView& matrix) { return matrix.row_bytes * matrix.n_out; }

void move_layer(Mover& mover, LayerWeights& layer, const HyperParameters& hyper) {
    const auto move = [&](WeightView& matrix) { mover.move(matrix, bytes_of(matrix)); };
    mover.move(layer.attn_norm, hyper.n_embd);
    mover.move(layer.ffn_norm, hyper.n_embd);
    if (auto* attention = std::get_if<AttentionWeights>(&layer.mixer)) {
        for (WeightView* matrix : {&attention->q, &attention->k, &attention->v, &attention->output}) move(*matrix);
        mover.move(attention->q_norm, hyper.head_dim);
        mover.move(attention->k_norm, hyper.head_dim);
    } else {
        auto& conv = std::get<ShortConvWeights>(layer.mixer);
        move(conv.in_proj);
        move(conv.out_proj);
        mover.move(conv.taps, std::size_t{hyper.n_embd} * hyper.l_cache);
    }
    if (auto* dense = std::get_if<DenseWeights>(&layer.ffn)) {
        for (WeightView* matrix : {&dense->gate, &dense->up, &dense->down}) move(*matrix);
    } else {
        auto& moe = std::get<MoeWeights>(layer.ffn);
        move(moe.router);
        if (moe.bias != nullptr) mover.move(moe.bias, hyper.n_expert);
    }
}

}  // namespace

Weights::Weights(const ModelDescription& model, const Plan& plan, std::span<const std::byte> data, Ledger& ledger,
                 Device* device)
    : vectors_(ledger, Purpose::kWeights, vector_bytes(model).value),
      token_embd_(matrix(model.token_embd, data)),
      output_(matrix(model.output_or_tied(), data)),
      layers_(model.hyper.n_layer),
      expert_sizes_(model.hyper.n_layer),
      first_on_host_(model.hyper.n_layer),
      experts_(model.hyper.n_layer, model.hyper.n_expert) {
    VectorCopier copier(data, vectors_.bytes());
    output_norm_ = copier.copy(model.output_norm);
    for (std::uint32_t i = 0; i < model.hyper.n_layer; ++i) {
        const LayerDescription& from = model.layers[i];
        LayerWeights& layer = layers_[i];
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
            expert_sizes_[i] = {moe.gate.bytes.value / n_expert, moe.up.bytes.value / n_expert,
                                moe.down.bytes.value / n_expert};
            first_on_host_[i] = {kHost, data.data() + moe.gate.offset, data.data() + moe.up.offset,
                                 data.data() + moe.down.offset};
            for (std::uint32_t e = 0; e < n_expert; ++e) experts_.set({LayerId{i}, e}, on_host({LayerId{i}, e}));
        }
    }
    if (device != nullptr) place_on(*device, model, plan);
}

void Weights::place_on(Device& device, const ModelDescription& model, const Plan& plan) {
    const HyperParameters& hyper = model.hyper;
    Mover mover;
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i)
        if (plan.layers[i] != kHost) move_layer(mover, layers_[i], hyper);
    if (plan.output != kHost) {
        mover.move(output_norm_, hyper.n_embd);
        mover.move(output_, bytes_of(output_));
    }
    const bool tied = !model.output;
    const bool shared = tied && plan.output != kHost;
    if (plan.embedding != kHost && !shared) mover.move(token_embd_, bytes_of(token_embd_));
    device_weights_ = mover.finish(device, uploads_);
    if (plan.embedding != kHost && shared) token_embd_ = output_;

    const auto for_experts = [&](const auto& visit) {
        for (std::uint32_t i = hyper.n_layer_dense; i < hyper.n_layer; ++i)
            for (std::uint32_t e = 0; e < hyper.n_expert; ++e)
                if (plan.experts[std::size_t{i} * hyper.n_expert + e] != kHost) visit(ExpertId{LayerId{i}, e});
    };
    for_experts([&](ExpertId id) { device_experts_.add(expert_sizes_[id.layer.value].slot()); });
    device_experts_.allocate(device, Purpose::kExperts);
    std::size_t piece = 0;
    for_experts([&](ExpertId id) {
        const ExpertSizes& sizes = expert_sizes_[id.layer.value];
        std::byte* address = device_experts_.address(piece++);
        for (const CopyRegion& region : sizes.copy(address, on_host(id))) uploads_.push_back(region);
        experts_.set(id, sizes.at(device.id(), address));
    });
}

ExpertSlot Weights::on_host(ExpertId id) const {
    const ExpertSlot& first = first_on_host_[id.layer.value];
    const ExpertSizes& sizes = expert_sizes_[id.layer.value];
    return {kHost, first.gate + id.index * sizes.gate, first.up + id.index * sizes.up,
            first.down + id.index * sizes.down};
}

}  // namespace lfm
