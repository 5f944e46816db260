// The model's weights in their planned places, as views the operations can use.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backends/device.h"
#include "memory/expert_table.h"
#include "memory/host_buffer.h"
#include "memory/ledger.h"
#include "planner/model/model.h"
#include "planner/plan/plan.h"
#include "runtime/tensors/device_arena.h"

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

/// The bytes of one expert's matrices in a layer. All experts of a layer are alike.
struct ExpertSizes {
    std::size_t gate = 0, up = 0, down = 0;

    // In a slot each matrix begins at a multiple of 16.
    std::size_t up_offset() const { return (gate + 15) / 16 * 16; }
    std::size_t down_offset() const { return up_offset() + (up + 15) / 16 * 16; }
    std::size_t slot() const { return down_offset() + (down + 15) / 16 * 16; }
    /// The matrices in a slot of the device `holder`.
    ExpertSlot at(DeviceId holder, std::byte* address) const {
        return {holder, address, address + up_offset(), address + down_offset()};
    }
    /// The copies that bring the expert at `from` into the slot at `address`.
    std::array<CopyRegion, 3> copy(std::byte* address, const ExpertSlot& from) const {
        return {CopyRegion{address, from.gate, gate}, CopyRegion{address + up_offset(), from.up, up},
                CopyRegion{address + down_offset(), from.down, down}};
    }
};

/// On the host, matrices are views into `data` (the mapped file, or memory of the same layout); vectors (norms, taps,
/// biases) are copied to f32 once. Of what the plan puts on a device, the views hold the address there.
class Weights {
public:
    /// `data` outlives the result, as does `device`, which may be null when the plan is for the host alone; offsets of
    /// `model` count from the beginning of `data`. Takes the device's memory; what must be copied there is listed in
    /// uploads(). Throws Error{kInvalidModel} when a vector holds a number that is not finite, Error{kShortfall}.
    Weights(const ModelDescription& model, const Plan& plan, std::span<const std::byte> data, Ledger& ledger,
            Device* device);

    const WeightView& token_embd() const { return token_embd_; }
    const WeightView& output() const { return output_; }
    const float* output_norm() const { return output_norm_; }
    const LayerWeights& layer(std::size_t index) const { return layers_[index]; }
    std::size_t n_layer() const { return layers_.size(); }

    const std::vector<CopyRegion>& uploads() const { return uploads_; }

    /// Where the plan puts each expert.
    const ExpertTable& experts() const { return experts_; }
    /// Zeros for dense layers.
    const ExpertSizes& expert_sizes(std::size_t layer) const { return expert_sizes_[layer]; }
    /// Where the expert lies in `data`, also when the plan puts it on the device.
    ExpertSlot on_host(ExpertId id) const;

private:
    void place_on(Device& device, const ModelDescription& model, const Plan& plan);

    HostBuffer vectors_;
    DeviceArena device_weights_, device_experts_;
    WeightView token_embd_, output_;
    const float* output_norm_ = nullptr;
    std::vector<LayerWeights> layers_;
    std::vector<ExpertSizes> expert_sizes_;  // [n_layer]
    std::vector<ExpertSlot> first_on_host_;  // [n_layer]: of expert 0
    ExpertTable experts_;
    std::vector<CopyRegion> uploads_;
};

}  // namespace lfm
