#include "runtime/activations.h"

#include <algorithm>

namespace lfm {
namespace {

std::uint32_t widest(const std::vector<std::uint32_t>& sizes) { return std::ranges::max(sizes); }

void carve(Activations& to, Carver& carver, const HyperParameters& hyper, ActivationSizes sizes) {
    const auto rows = [&](std::size_t n_rows, std::uint32_t n_cols) {
        return RowsView{carver.take<float>(n_rows * n_cols), n_cols};
    };
    const std::uint32_t n_q = hyper.n_head * hyper.head_dim;
    const std::uint32_t n_kv = widest(hyper.n_head_kv) * hyper.head_dim;
    const std::uint32_t n_ff = hyper.n_layer_dense > 0 ? widest(hyper.n_ff) : 0;
    to.hidden = rows(sizes.n_batch, hyper.n_embd);
    to.normed = rows(sizes.n_batch, hyper.n_embd);
    to.branch = rows(sizes.n_batch, hyper.n_embd);
    to.q = rows(sizes.n_batch, n_q);
    to.k = rows(sizes.n_batch, n_kv);
    to.v = rows(sizes.n_batch, n_kv);
    to.attended = rows(sizes.n_batch, n_q);
    to.bcx = rows(sizes.n_batch, 3 * hyper.n_embd);
    to.gate = rows(sizes.n_batch, n_ff);
    to.up = rows(sizes.n_batch, n_ff);
    to.last = rows(sizes.n_outputs, hyper.n_embd);
    to.logits = rows(sizes.n_outputs, hyper.n_vocab);
    to.choices.clear();
    for (std::uint32_t layer = hyper.n_layer_dense; layer < hyper.n_layer; ++layer) {
        const std::size_t n = std::size_t{sizes.n_batch} * hyper.n_expert_used;
        to.choices.push_back({carver.take<std::int32_t>(n), carver.take<float>(n)});
    }
}

}  // namespace

Activations::Activations(const HyperParameters& hyper, ActivationSizes sizes, Ledger& ledger) {
    Carver measuring;
    carve(*this, measuring, hyper, sizes);
    buffer = HostBuffer(ledger, Purpose::kActivations, measuring.used());
    Carver carver(buffer.bytes());
    carve(*this, carver, hyper, sizes);
}

}  // namespace lfm
