// What one sequence remembers between steps: keys and values of attention layers, the last gated rows of conv layers.
#pragma once

#include <span>
#include <vector>

#include "backends/device.h"
#include "memory/host_buffer.h"
#include "planner/cost/inventory.h"
#include "planner/model/model.h"
#include "runtime/tensors/device_arena.h"

namespace lfm {

/// A place to return to: conv state cannot be rewound, so it is copied. Keys and values before `position` stay valid.
struct Checkpoint {
    std::uint32_t position = 0;
    std::vector<float> conv;  // all conv layers' states side by side, wherever they are
};

/// Which layers' state lies on the device: entries of Plan::layers other than kHost. No device: all on the host.
struct StatePlaces {
    std::span<const DeviceId> layers;
    Device* device = nullptr;
};

class SequenceState {
public:
    /// Throws Error{kUsage} when a type is not one a cache can have, or does not divide the head size.
    SequenceState(const HyperParameters& hyper, KvTypes types, std::uint32_t n_ctx, const StatePlaces& places,
                  Ledger& ledger);

    std::uint32_t n_ctx() const { return n_ctx_; }
    std::uint32_t position() const { return position_; }
    void advance(std::uint32_t n_tokens) { position_ += n_tokens; }
    void reset() { position_ = 0; }  // operations read an empty conv state at position 0

    KvView kv(std::size_t layer) const { return kv_[layer]; }
    float* conv(std::size_t layer) const { return conv_[layer]; }

    Checkpoint checkpoint() const;
    /// As checkpoint, into one taken before: allocates nothing. A device must be idle.
    void checkpoint_into(Checkpoint& checkpoint) const;
    /// The checkpoint was taken from this state, and nothing before its position was overwritten since.
    void restore(const Checkpoint& checkpoint);

    /// What a step advances in place on the host, kept for a step that may have to be done again (a device keeps its
    /// part itself: Attempt). Allocates once.
    void keep_host();
    void put_back_host();

private:
    void place_kv(const HyperParameters& hyper, KvTypes types, const StatePlaces& places);

    std::uint32_t n_ctx_;
    std::uint32_t position_ = 0;
    HostBuffer kv_buffer_;
    HostBuffer conv_buffer_;
    Device* device_;
    DeviceArena device_kv_;
    DeviceBlock device_conv_;
    std::size_t n_conv_floats_ = 0;           // of one layer
    std::vector<DeviceId> conv_places_;       // [n_conv_layer]
    mutable std::vector<float> device_copy_;  // of device_conv_, on its way
    std::vector<float> kept_;                 // of conv_buffer_
    std::vector<KvView> kv_;                  // [n_layer], empty for conv layers
    std::vector<float*> conv_;                // [n_layer], null for attention layers
};

/// Throws Error{kUsage} for a type that a cache cannot have, or whose blocks do not divide the model's heads.
void check_kv_types(KvTypes types, const HyperParameters& hyper);

}  // namespace lfm
