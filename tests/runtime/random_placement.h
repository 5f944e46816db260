// Plans that put any layer with its state, any expert, the embedding and the output anywhere.
#pragma once

#include <algorithm>
#include <random>

#include "planner/cost/placement.h"
#include "planner/plan/plan.h"

namespace lfm::test {

enum class Placing { kRandom, kAllOnDevice };

/// kRandom: each item on the device with a chance of seed % 5 quarters; some layers with slots, some with experts that
/// travel in prefill.
inline Plan placed_plan(const ModelDescription& model, const SessionSizes& sizes, Placing placing,
                        std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    const HyperParameters& hyper = model.hyper;
    Plan plan = make_host_plan(model, sizes);
    plan.machine.device_backend = "test";
    const std::uint32_t chance = seed % 5;  // quarters
    const auto place = [&] { return placing == Placing::kAllOnDevice || random() % 4 < chance ? kDevice : kHost; };
    plan.embedding = place();
    plan.output = place();
    plan.n_staged = placing == Placing::kRandom ? 2 * (1 + static_cast<std::uint32_t>(random() % 4)) : 0;
    for (std::uint32_t layer = 0; layer < hyper.n_layer; ++layer) {
        plan.layers[layer] = place();
        if (layer < hyper.n_layer_dense) continue;
        std::uint32_t n_cold = 0;
        for (std::uint32_t e = 0; e < hyper.n_expert; ++e) {
            DeviceId& holder = plan.experts[std::size_t{layer} * hyper.n_expert + e];
            holder = place();
            n_cold += holder == kHost ? 1 : 0;
        }
        std::shuffle(plan.by_use[layer].begin(), plan.by_use[layer].end(), random);
        if (n_cold == 0) continue;
        plan.n_slots[layer] = random() % 2 == 0 ? 0 : static_cast<std::uint32_t>(random() % n_cold);
        plan.n_streamed[layer] = static_cast<std::uint32_t>(random() % (n_cold + 1));
    }
    return plan;
}

}  // namespace lfm::test
