// The memory of what sequences keep between steps: keys and values of attention layers, rings of conv rows. Each
// sequence has a page of them, on the host and on the device as the plan puts the layers. The pool has one page.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/device.h"
#include "backends/needs/conv_ring.h"
#include "memory/host_buffer.h"
#include "planner/cost/inventory.h"
#include "planner/model/model.h"
#include "runtime/tensors/device_arena.h"

namespace lfm {

/// Which layers' state lies on the device: entries of Plan::layers other than kHost. No device: all on the host.
struct StatePlaces {
    std::span<const DeviceId> layers;
    Device* device = nullptr;
};

class StatePool {
public:
    /// Takes no memory yet. `hyper` outlives the pool. Throws what check_kv_types throws.
    StatePool(const HyperParameters& hyper, const SessionSizes& sizes);
    StatePool(const StatePool&) = delete;
    StatePool& operator=(const StatePool&) = delete;

    /// Gives back the memory it has and takes new memory, in which the state of all sequences is lost. Throws
    /// Error{kShortfall} and what the device throws; then the pool has no memory.
    void place(const StatePlaces& places, Ledger& ledger);
    void give_back();
    /// How often the pool has lost the state of its sequences.
    std::uint64_t n_lost() const { return n_lost_; }

    KvView kv(std::size_t layer) const { return kv_[layer]; }
    float* ring(std::size_t layer) const { return rings_[layer]; }
    ConvRing ring() const { return ring_; }

    /// The number of floats in the windows of all conv layers.
    std::size_t n_window_floats() const { return n_conv_ * ring_.n_past * n_embd_; }
    /// Copies the windows that begin at slot `window`, oldest row first, of the host's and the device's layers, to
    /// [n_window_floats]. The device must be idle.
    void read_windows(std::uint32_t window, std::span<float> to);
    /// Writes windows that were read, so that they begin at slot 0.
    void write_windows(std::span<const float> from);

private:
    friend class Sequence;
    void take_page();  // throws Error{kShortfall} when none is free
    void return_page() noexcept { page_taken_ = false; }
    void place_kv(const StatePlaces& places, Ledger& ledger);
    void place_rings(const StatePlaces& places, Ledger& ledger);
    std::size_t ring_floats() const { return std::size_t{ring_.n_slots} * n_embd_; }

    const HyperParameters& hyper_;
    SessionSizes sizes_;
    ConvRing ring_;
    std::size_t n_embd_, n_conv_ = 0;
    std::uint64_t n_lost_ = 0;
    bool page_taken_ = false;

    Device* device_ = nullptr;
    HostBuffer kv_buffer_, ring_buffer_;
    DeviceArena device_kv_;
    DeviceBlock device_rings_;
    std::vector<float> device_copy_;  // of device_rings_, to read and write windows
    std::vector<KvView> kv_;          // [n_layer], empty for conv layers
    std::vector<float*> rings_;       // [n_layer], null for attention layers
    std::vector<float*> seen_;        // [n_layer]: the ring itself on the host, else its place in device_copy_
};

/// Throws Error{kUsage} for a type that a cache cannot have, or whose block size does not divide the head size.
void check_kv_types(KvTypes types, const HyperParameters& hyper);

}  // namespace lfm
