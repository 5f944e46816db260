// The forward pass as a list of operations, layer by layer: read this to see what the model computes, and where.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "planner/model/model.h"
#include "planner/plan/plan.h"
#include "runtime/experts/staging.h"
#include "runtime/tensors/activations.h"
#include "runtime/state/state_pool.h"
#include "runtime/tensors/weights.h"

namespace lfm {

enum class StageOrder : std::uint8_t {
    kInTurn,  // after its device's stages before it
    kBeside,  // the host's experts of a layer, while the layer's own device does its next stages
    kStaged,  // in turn, and after the copies of one round of a layer's experts that travel
};

/// Operations that run together: the embedding, one layer, its experts in one place, an edge between devices, or the
/// output head.
struct Stage {
    std::string name;         // "embed", "blk.3", "blk.3 cold", "blk.4 edge", "output"
    DeviceId device = kHost;  // that runs it
    StageOrder order = StageOrder::kInTurn;
    std::vector<Operation> operations;
    std::vector<std::uint32_t> after;  // stages of other devices that it waits for
    std::uint32_t layer = 0;
    std::uint32_t round = 0;  // kStaged: counted over all layers
};

struct LayerProgramInputs {
    const HyperParameters& hyper;
    const Plan& plan;
    const Weights& weights;
    const StatePool& pool;
    const StepRows& rows;
    const StagingLayout& staging;
    const ExpertTable& experts;
};

/// embed, then each layer, then the output head, with an edge where the plan goes on elsewhere. A stage's operations
/// name addresses of the side it runs on.
std::vector<Stage> make_layer_program(const LayerProgramInputs& inputs);

}  // namespace lfm
