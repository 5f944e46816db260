// What a session takes in RAM, from the model and where the plan puts things: not from what a plan's file says it
// takes.
#pragma once

#include <string>

#include "planner/cost/inventory.h"
#include "planner/plan/plan.h"

namespace lfm {

struct RamNeeds {
    Bytes weights;  // of what has its home in RAM, in the file's types
    Bytes vectors, kv, conv_state, activations, scratch;

    Bytes working() const { return vectors + kv + conv_state + activations + scratch; }
    Bytes total() const { return weights + working(); }
};

RamNeeds ram_needs(const ModelDescription& model, const Plan& plan);

/// Weights, KV cache and conv state that the plan puts on the device: the least that they take there.
Bytes least_device_needs(const ModelDescription& model, const Plan& plan);

/// "KV cache 715 GiB": the largest part of `needs`, with `weights` in place of the model's (0: they do not count).
std::string largest_part(const RamNeeds& needs, Bytes weights);

}  // namespace lfm
