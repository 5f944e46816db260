// The rows that flow between operations, for the largest step: on the host, on a device, and shared by both.
#pragma once

#include <vector>

#include "backends/device.h"
#include "memory/host_buffer.h"
#include "planner/model/model.h"

namespace lfm {

struct ActivationSizes {
    std::uint32_t n_batch = 0;
    std::uint32_t n_outputs = 0;  // rows of logits kept from one step
};

/// Views of one side's rows.
struct Activations {
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

/// Rows that cross between host and device, in memory that both see.
struct BridgeRows {
    RowsView hidden;                     // [n_batch, n_embd]
    RowsView normed;                     // [n_batch, n_embd]: the input of experts on the other side
    RowsView others;                     // [n_batch, n_embd]: the sum of experts on the other side
    RowsView logits;                     // [n_outputs, n_vocab]
    std::vector<ExpertChoice> choices;   // as in Activations
    std::vector<std::int32_t*> slot_of;  // [n_map][n_expert]: StagedExperts::slot_of
};

/// The memory of a step's rows. With a device the host's `hidden`, `logits` and `choices` are the bridge's.
class StepRows {
public:
    /// `n_maps`: how many maps of staged experts the bridge holds. `device` may be null. Throws Error{kShortfall}.
    StepRows(const HyperParameters& hyper, ActivationSizes sizes, std::uint32_t n_maps, Device* device, Ledger& ledger);

    /// The rows that operations of the host, or of a device, work on.
    const Activations& of(DeviceId side) const { return sides_[side.value].rows; }
    /// The shared rows, at the addresses that are valid on this side.
    const BridgeRows& bridge(DeviceId side) const { return sides_[side.value].bridge; }

private:
    struct Side {
        Activations rows;
        BridgeRows bridge;
    };
    HostBuffer host_buffer_;
    DeviceBlock device_block_, bridge_block_;
    std::vector<Side> sides_;  // by DeviceId
};

}  // namespace lfm
