// What changes from step to step, as kernels read it; and what an expert table is on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/needs/gpu_needs.h"

namespace lfm::gpu {

/// In device memory; StepArea fills it.
struct Step {
    std::uint32_t n_tokens, position, window, n_outputs, has_forced, unused;
    const std::int32_t* token_ids;       // [n_tokens]
    const std::uint32_t* output_rows;    // [n_outputs]
    const float* rope;                   // [n_tokens, head_dim]: cosines, then sines
    const std::int32_t* forced_experts;  // [n_moe_layer, n_tokens, n_expert_used]
};

/// Tickets of arrivals.h, in device memory, that a launch may use. They are zero before a launch and after it.
inline constexpr std::uint32_t kMostTickets = needs::gpu::kMostTickets;

/// One expert's matrices. A table has n_expert of them a layer.
struct ExpertEntry {
    const std::byte *gate, *up, *down;
    std::uint64_t held;  // 1: by this device
};

}  // namespace lfm::gpu
