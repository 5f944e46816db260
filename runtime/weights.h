// The model's weights in their planned places, as views the operations can use.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backends/backend.h"
#include "memory/expert_table.h"
#include "memory/host_buffer.h"
#include "memory/ledger.h"
#include "planner/model.h"
#include "planner/plan.h"

namespace lfm {

struct AttentionWeights {
    WeightView q, k, v, output;
    const float* q_norm = nullptr;  // [head_dim]
    const float* k_norm = nullptr;
    std::uint32_t n_head_kv = 0;
};
struct ShortConvWeights {
    WeightView in_proj, out_proj;
    const float* taps = nullptr;  // [n_embd, l_cache]
};
struct DenseWeights {
    WeightView gate, up, down;
};
struct MoeWeights {
    WeightView router;
    const float* bias = nullptr;  // [n_expert] or null
    DType gate_type = DType::kF32, up_type = DType::kF32, down_type = DType::kF32;
};
struct LayerWeights {
    const float* attn_norm = nullptr;  // [n_embd]
    const float* ffn_norm = nullptr;
    std::variant<ShortConvWeights, AttentionWeights> mixer;
    std::variant<DenseWeights, MoeWeights> ffn;
};

/// Matrices are views into `data` (the mapped file, or memory of the same layout); vectors (norms, taps, biases) are
/// copied to f32 once.
class Weights {
public:
    /// `data` outlives the result; offsets of `model` count from its beginning. Throws Error{kInvalidModel} when a
    /// vector holds a number that is not finite.
    Weights(const ModelDescription& model, const Plan& plan, std::span<const std::byte> data, Ledger& ledger);

    const WeightView& token_embd() const { return token_embd_; }
    const WeightView& output() const { return output_; }
    const float* output_norm() const { return output_norm_; }
    const LayerWeights& layer(std::size_t index) const { return layers_[index]; }
    std::size_t n_layer() const { return layers_.size(); }
    const ExpertTable& experts() const { return experts_; }

private:
    HostBuffer vectors_;
    WeightView token_embd_, output_;
    const float* output_norm_ = nullptr;
    std::vector<LayerWeights> layers_;
    ExpertTable experts_;
};

}  // namespace lfm
