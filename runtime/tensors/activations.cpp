#include "runtime/tensors/activations.h"

#include <algorithm>

namespace lfm {
namespace {

std::uint32_t widest(const std::vector<std::uint32_t>& sizes) { return std::ranges::max(sizes); }

/// Takes views one after another, as Carver does.
class RowsCarver {
public:
    explicit RowsCarver(Carver& carver) : carver_(carver) {}

    RowsView rows(std::size_t n_rows, std::uint32_t n_cols) { return {carver_.take<float>(n_rows * n_cols), n_cols}; }
    std::vector<ExpertChoice> choices(const HyperParameters& hyper, std::size_t n_batch) {
        std::vector<ExpertChoice> choices;
        for (std::uint32_t layer = hyper.n_layer_dense; layer < hyper.n_layer; ++layer) {
            const std::size_t n = n_batch * hyper.n_expert_used;
            choices.push_back({carver_.take<std::int32_t>(n), carver_.take<float>(n)});
        }
        return choices;
    }

private:
    Carver& carver_;
};

enum class Logits { kHere, kElsewhere };

Activations carve(Carver& carver, const HyperParameters& hyper, ActivationSizes sizes, Logits logits) {
    RowsCarver take(carver);
    const std::uint32_t n_q = hyper.n_head * hyper.head_dim;
    const std::uint32_t n_kv = widest(hyper.n_head_kv) * hyper.head_dim;
    const std::uint32_t n_ff = hyper.n_layer_dense > 0 ? widest(hyper.n_ff) : 0;
    Activations to;
    to.hidden = take.rows(sizes.n_batch, hyper.n_embd);
    to.normed = take.rows(sizes.n_batch, hyper.n_embd);
    to.branch = take.rows(sizes.n_batch, hyper.n_embd);
    to.q = take.rows(sizes.n_batch, n_q);
    to.k = take.rows(sizes.n_batch, n_kv);
    to.v = take.rows(sizes.n_batch, n_kv);
    to.attended = take.rows(sizes.n_batch, n_q);
    to.bcx = take.rows(sizes.n_batch, 3 * hyper.n_embd);
    to.gate = take.rows(sizes.n_batch, n_ff);
    to.up = take.rows(sizes.n_batch, n_ff);
    to.last = take.rows(sizes.n_outputs, hyper.n_embd);
    if (logits == Logits::kHere) to.logits = take.rows(sizes.n_outputs, hyper.n_vocab);
    to.choices = take.choices(hyper, sizes.n_batch);
    return to;
}

BridgeRows carve_bridge(Carver& carver, const HyperParameters& hyper, ActivationSizes sizes, std::uint32_t n_maps) {
    RowsCarver take(carver);
    BridgeRows to;
    to.hidden = take.rows(sizes.n_batch, hyper.n_embd);
    to.normed = take.rows(sizes.n_batch, hyper.n_embd);
    to.others = take.rows(sizes.n_batch, hyper.n_embd);
    to.logits = take.rows(sizes.n_outputs, hyper.n_vocab);
    to.choices = take.choices(hyper, sizes.n_batch);
    for (std::uint32_t i = 0; i < n_maps; ++i) to.slot_of.push_back(carver.take<std::int32_t>(hyper.n_expert));
    return to;
}

}  // namespace

StepRows::StepRows(const HyperParameters& hyper, ActivationSizes sizes, std::uint32_t n_maps, Device* device,
                   Ledger& ledger) {
    sides_.resize(device == nullptr ? 1 : device->id().value + std::size_t{1});
    Side& host = sides_[kHost.value];
    Carver measuring;
    carve(measuring, hyper, sizes, Logits::kHere);
    host_buffer_ = HostBuffer(ledger, Purpose::kActivations, measuring.used());
    Carver on_host(host_buffer_.bytes());
    host.rows = carve(on_host, hyper, sizes, Logits::kHere);
    if (device == nullptr) return;

    Carver measuring_device, measuring_bridge;
    carve(measuring_device, hyper, sizes, Logits::kElsewhere);
    carve_bridge(measuring_bridge, hyper, sizes, n_maps);
    device_block_ = device->allocate(MemoryKind::kOwn, Purpose::kActivations, measuring_device.used());
    bridge_block_ = device->allocate(MemoryKind::kShared, Purpose::kStaging, measuring_bridge.used());
    Carver on_device({device_block_.address(), device_block_.size()});
    Side& other = sides_[device->id().value];
    other.rows = carve(on_device, hyper, sizes, Logits::kElsewhere);
    Carver shared_host(bridge_block_.host());
    host.bridge = carve_bridge(shared_host, hyper, sizes, n_maps);
    Carver shared_device({bridge_block_.address(), bridge_block_.size()});
    other.bridge = carve_bridge(shared_device, hyper, sizes, n_maps);
    for (std::int32_t* slot_of : host.bridge.slot_of) std::fill_n(slot_of, hyper.n_expert, -1);
    host.rows.hidden = host.bridge.hidden;
    host.rows.logits = host.bridge.logits;
    host.rows.choices = host.bridge.choices;
}

}  // namespace lfm
