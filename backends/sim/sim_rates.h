// How long an operation takes on the simulated device: plain numbers, and the formulas of the plan's cost model.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "backends/backend.h"

namespace lfm::sim {

struct SimRates {
    std::array<double, kTypeIds> matvec_seconds_per_byte{};  // by type id; weights read for one token
    std::array<double, kTypeIds> gemm_seconds_per_flop{};    // by type id; many tokens; a multiply-add is two
    double attention_seconds_per_byte = 0;                   // of the key/value cache, one token
    double operation_seconds = 0;                            // of any operation, beside its bytes and sums
    double handshake_seconds = 0;                            // device to host and back
    double copy_seconds = 0;                                 // latency of one copy
    double h2d_seconds_per_byte = 0;
    /// Matrix units work on tiles of tokens: a smaller group of an expert's tokens costs as much. As in
    /// planner/cost/prefill_cost.cpp.
    std::uint32_t tile_tokens = 64;
};

/// "attention", "expert_ffn": for traces and errors.
const char* operation_name(const Operation& operation);

/// Seconds of one operation in this step. `tokens_of_expert` [n_expert], for ExpertFfnArgs: how many tokens each expert
/// computes here; others ignore it.
double operation_seconds(const SimRates& rates, const Operation& operation, const StepParams& step,
                         std::span<const std::uint32_t> tokens_of_expert);

/// Seconds of one copy of that many bytes; nothing to copy takes no time.
double copy_seconds(const SimRates& rates, std::size_t n_bytes);

}  // namespace lfm::sim
