// The memory of what sequences keep between steps: pages of keys and values of attention layers, rings of conv rows
// and saved windows of them, on the host and on the device as the plan puts the layers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "backends/device.h"
#include "backends/needs/conv_ring.h"
#include "memory/host_buffer.h"
#include "planner/cost/inventory.h"
#include "planner/model/model.h"
#include "runtime/state/page_pool.h"
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
    /// The rows of a layer's convolution: of all rings, then of all saved windows.
    float* conv_rows(std::size_t layer) const { return conv_rows_[layer]; }
    ConvRing ring() const { return ring_; }

    const SessionSizes& sizes() const { return sizes_; }
    /// Pages by their numbers, for as long as the pool; who holds one whose content is lost computes it anew.
    PagePool& pages() { return pages_; }
    const PagePool& pages() const { return pages_; }
    /// The first row of a ring that nobody uses; nothing when all are in use.
    std::optional<std::uint32_t> take_ring();
    void return_ring(std::uint32_t first_row) noexcept { free_rings_.push_back(first_row); }
    /// The first row of a saved window.
    std::uint32_t saved_row(std::uint32_t id) const { return sizes_.n_sequences * ring_.n_slots + id * ring_.n_past; }

    /// Tokens to compute once more for exact windows at any place: (l_cache − 1) × conv layers.
    std::uint32_t n_replay() const { return static_cast<std::uint32_t>(n_conv_) * ring_.n_past; }
    /// The number of floats in the windows of all conv layers.
    std::size_t n_window_floats() const { return n_conv_ * ring_.n_past * n_embd_; }
    /// Copies the windows that begin at this slot of a ring, oldest row first, of the host's and the device's layers,
    /// to [n_window_floats]. `ring` is its first row. The device must be idle.
    void read_windows(std::uint32_t ring, std::uint32_t window, std::span<float> to);
    /// Writes windows that were read, so that they begin at slot 0 of the ring.
    void write_windows(std::uint32_t ring, std::span<const float> from);
    /// The same for a saved window.
    void read_saved(std::uint32_t id, std::span<float> to);
    void write_saved(std::uint32_t id, std::span<const float> from);

    /// Bytes of the keys and values of so many tokens in all attention layers.
    std::size_t n_kv_bytes(std::uint32_t n_tokens) const;
    /// Gives the first n_tokens of these pages to `take`, piece by piece: layer by layer, its keys, then its values.
    /// The device must be idle.
    void read_kv(std::span<const PageId> pages, std::uint32_t n_tokens,
                 const std::function<void(std::span<const std::byte>)>& take);
    /// Writes the first n_tokens of what was read of n_read tokens.
    void write_kv(std::span<const PageId> pages, std::uint32_t n_tokens, std::span<const std::byte> from,
                  std::uint32_t n_read);

private:
    void place_kv(const StatePlaces& places, Ledger& ledger);
    void place_conv_rows(const StatePlaces& places, Ledger& ledger);
    std::size_t ring_floats() const { return std::size_t{ring_.n_slots} * n_embd_; }
    /// each(cache, bytes of a row, whether it is on the device), for keys and values of each attention layer.
    template <typename Each>
    void for_each_cache(const Each& each) const;

    const HyperParameters& hyper_;
    SessionSizes sizes_;
    ConvRing ring_;
    std::size_t n_embd_, n_conv_ = 0;
    std::uint64_t n_lost_ = 0;
    PagePool pages_;
    std::vector<std::uint32_t> free_rings_;  // their first rows

    Device* device_ = nullptr;
    HostBuffer kv_buffer_, conv_buffer_;
    DeviceArena device_kv_;
    DeviceBlock device_conv_;
    std::vector<float> device_copy_;  // of one ring of one layer on the device, on its way
    std::vector<KvView> kv_;          // [n_layer], empty for conv layers
    std::vector<float*> conv_rows_;   // [n_layer], null for attention layers
    std::vector<bool> on_device_;     // [n_layer], of conv layers
    std::vector<bool> kv_on_device_;  // [n_layer], of attention layers
};

/// Throws Error{kUsage} for a type that a cache cannot have, or whose block size does not divide the head size.
void check_kv_types(KvTypes types, const HyperParameters& hyper);

}  // namespace lfm
