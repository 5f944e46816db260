// Random machines, models and requests of every kind that planning must handle, small enough for many of them.
#pragma once

#include <cmath>
#include <random>
#include <string>

#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"

namespace lfm {

class RandomCases {
public:
    explicit RandomCases(std::uint64_t seed) : random_(seed) {}

    std::uint32_t whole(std::uint32_t low, std::uint32_t high) {
        return std::uniform_int_distribution<std::uint32_t>(low, high)(random_);
    }
    double between(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_); }
    /// Every order of magnitude equally likely.
    double spread(double low, double high) { return std::exp(between(std::log(low), std::log(high))); }
    bool chance(double p) { return between(0.0, 1.0) < p; }

    Figure figure(double low, double high) { return {spread(low, high), Assumed{"random"}}; }

    TypeFigures figures(double low, double high) {
        TypeFigures figures;
        figures.others = figure(low, high);
        if (chance(0.5)) figures.types[DType::kQ6_K] = figure(low, high);
        return figures;
    }

    MachineProfile machine() {
        MachineProfile machine;
        machine.name = "random";
        machine.host = {.name = "host",
                        .instruction_set = "",
                        .n_cores = 8,
                        .n_threads = 8,
                        .memory = {std::uint64_t{1} << 40},
                        .pinnable = {},
                        .read_bandwidth = {{8, figure(10, 300)}},
                        .matvec_gb_per_s = figures(5, 200),
                        .gemm_gflop_per_s = figures(50, 3000),
                        .attention_gb_per_s = figure(5, 100),
                        .operation_us = figure(0.5, 20)};
        machine.devices.push_back({.name = "device",
                                   .backend = "sim",
                                   .memory_kind = chance(0.15) ? DeviceMemory::kSharedWithHost : DeviceMemory::kOwn,
                                   .memory = {std::uint64_t{1} << 40},
                                   .free = {},
                                   .context = {whole(0u, 1u << 16)},
                                   .matvec_gb_per_s = figures(5, 1500),
                                   .gemm_gflop_per_s = figures(500, 100000),
                                   .read_gb_per_s = figure(50, 1500),
                                   .attention_gb_per_s = figure(10, 500),
                                   .operation_us = figure(0.5, 20),
                                   .handshake_us = figure(1, 400),
                                   .copy_us = figure(1, 50),
                                   .h2d_pinned_gb_per_s = figure(2, 60),
                                   .h2d_pageable_gb_per_s = figure(1, 30),
                                   .d2h_pinned_gb_per_s = figure(2, 60),
                                   .d2h_pageable_gb_per_s = figure(1, 30),
                                   .h2d_while_host_reads_gb_per_s = figure(1, 60),
                                   .host_reads_while_h2d_gb_per_s = figure(5, 200)});
        return machine;
    }

    struct ModelLimits {
        std::uint32_t n_layer = 6, n_expert = 12;
    };

    ModelDescription model(ModelLimits limits) {
        const std::uint32_t n_layer = whole(1, limits.n_layer);
        const bool moe = chance(0.75);
        std::string text = std::string(moe ? "lfm2moe" : "lfm2") + ",n_layer=" + std::to_string(n_layer) +
                           ",n_embd=256,n_head=4,n_vocab=" + std::to_string(whole(32, 2000)) +
                           ",n_ff=" + std::to_string(256 * whole(1, 4));
        if (moe) {
            const std::uint32_t n_expert = whole(1, limits.n_expert);
            text += ",n_expert=" + std::to_string(n_expert) +
                    ",n_expert_used=" + std::to_string(whole(1, std::min(n_expert, 4u))) +
                    ",n_ff_exp=" + std::to_string(256 * whole(1, 3)) +
                    ",n_layer_dense=" + std::to_string(whole(0, n_layer));
        }
        std::string attention;
        for (std::uint32_t i = 0; i < n_layer; ++i)
            if (chance(0.4)) attention += (attention.empty() ? "" : ".") + std::to_string(i);
        text += ",attention=" + attention;
        if (chance(0.3)) text += ",output=separate";
        static constexpr const char* kTypes[] = {"Q4_0", "Q4_K_M", "Q8_0", "F16", "Q6_K"};
        return describe_shape(text + ":" + kTypes[whole(0, 4)]);
    }

    Routing routing(const HyperParameters& hyper) {
        return skewed_routing(hyper, chance(0.5) ? 0.0 : between(0.0, 2.0), chance(0.7) ? 0.0 : between(0.0, 0.9));
    }

    PlanRequest request(const ModelDescription& model) {
        PlanRequest request;
        request.sizes.n_ctx = whole(1, 4096);
        request.sizes.n_batch = whole(1, 64);
        request.routing = routing(model.hyper);
        return request;
    }

private:
    std::mt19937_64 random_;
};

/// The whole model's weights, KV cache and convolution state.
inline Bytes all_bytes(const ModelDescription& model, const SessionSizes& sizes) {
    const Inventory inventory = take_inventory(model, sizes);
    return inventory.weights() + inventory.kv() + inventory.conv_state();
}

}  // namespace lfm
