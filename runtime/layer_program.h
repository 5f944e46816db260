// The forward pass as a list of operations, layer by layer: read this to see what the model computes.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "planner/model.h"
#include "planner/plan.h"
#include "runtime/activations.h"
#include "runtime/sequence_state.h"
#include "runtime/weights.h"

namespace lfm {

/// Operations that run together on one device: the embedding, one layer, or the output head.
struct DeviceSegment {
    std::string name;  // "embed", "blk.3", "output"
    DeviceId device = kHost;
    std::vector<Operation> operations;
};

struct LayerProgramInputs {
    const HyperParameters& hyper;
    const Plan& plan;
    const Weights& weights;
    const SequenceState& state;
    const Activations& activations;
};

/// embed, then each layer, then the output head.
std::vector<DeviceSegment> make_layer_program(const LayerProgramInputs& inputs);

}  // namespace lfm
