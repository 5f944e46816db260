// The rows that flow between operations, for the largest step.
#pragma once

#include "backends/backend.h"
#include "memory/host_buffer.h"
#include "planner/model.h"

namespace lfm {

struct ActivationSizes {
    std::uint32_t n_batch = 0;
    std::uint32_t n_outputs = 0;  // rows of logits kept from one step
};

struct Activations {
    Activations(const HyperParameters& hyper, ActivationSizes sizes, Ledger& ledger);

    HostBuffer buffer;
    RowsView hidden;    // [n_batch, n_embd]: the residual stream
    RowsView normed;    // [n_batch, n_embd]
    RowsView branch;    // [n_batch, n_embd]: what an operator or FFN adds
    RowsView q;         // [n_batch, n_head · head_dim]
    RowsView k, v;      // [n_batch, widest n_head_kv · head_dim]
    RowsView attended;  // [n_batch, n_head · head_dim]
    RowsView bcx;       // [n_batch, 3 · n_embd]
    RowsView gate, up;  // [n_batch, widest n_ff]
    RowsView last;      // [n_outputs, n_embd]
    RowsView logits;    // [n_outputs, n_vocab]
    /// One choice per MoE layer, kept so that it can be written out: [n_moe_layer][n_batch, n_expert_used].
    std::vector<ExpertChoice> choices;
};

}  // namespace lfm
