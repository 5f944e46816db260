// The forward pass as a list of operations, layer by layer: read this to see what the model computes, and where.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "planner/model/model.h"
#include "planner/plan/plan.h"
#include "runtime/experts/staging.h"
#include "runtime/tensors/activations.h"
#include "runtime/tensors/state_pool.h"
#include "runtime/tensors/weights.h"

namespace lfm {

enum class StageKind : std::uint8_t {
    kOnHost,    // on the host, after the host's stages before it
    kExperts,   // on the host: the experts of a layer that it holds, while the device does the next stages
    kOnDevice,  // on the device, after the device's stages before it
    kStaged,    // on the device: one round of a layer's experts that travelled there
};

/// Operations that run together: the embedding, one layer, its experts in one place, or the output head.
struct Stage {
    std::string name;  // "embed", "blk.3", "blk.3 cold", "output"
    StageKind kind = StageKind::kOnHost;
    std::vector<Operation> operations;
    std::vector<std::uint32_t> after;  // stages of the other side that it waits for
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

/// embed, then each layer, then the output head; with rows carried over where the plan changes sides. A stage's
/// operations name addresses of the side it runs on.
std::vector<Stage> make_layer_program(const LayerProgramInputs& inputs);

}  // namespace lfm
