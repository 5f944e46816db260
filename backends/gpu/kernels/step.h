// What changes from step to step, as kernels read it; and what an expert table is on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/needs/gpu_needs.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kPageTokens = 32;  // of a page of keys and values: kKvPageTokens
inline constexpr std::uint32_t kNowhere = ~0u;
inline constexpr std::uint32_t kFromRing = 0, kFromSaved = 1;  // WindowFrom

/// One sequence's part of a step: StepSequenceRows.
struct SequenceRows {
    const std::uint32_t* pages;  // [up to its last row]; null: page i is the cache's page i
    std::uint32_t first_row, n_rows, position;
    std::uint32_t ring, window, window_from, saved, save_to;
};

struct CopiedPage {
    std::uint32_t from, to, n_tokens;
};

/// In device memory; StepArea fills it. Its SequenceRows follow (sequences.h), those of one row first.
struct Step {
    std::uint32_t n_tokens, n_outputs, has_forced, n_sequences, n_singles, n_page_copies, moves_windows, unused;
    const std::int32_t* token_ids;       // [n_tokens]
    const std::uint32_t* output_rows;    // [n_outputs]
    const float* rope;                   // [n_tokens, head_dim]: cosines, then sines
    const std::int32_t* forced_experts;  // [n_moe_layer, n_tokens, n_expert_used]
    const std::uint32_t* kv_rows;        // [n_tokens]: rows of a cache; kNowhere: not to be written
    const std::uint32_t* row_sequences;  // [n_tokens]
    const CopiedPage* page_copies;       // [n_page_copies]
};

/// Tickets of arrivals.h, in device memory, that a launch may use. They are zero before a launch and after it.
inline constexpr std::uint32_t kMostTickets = needs::gpu::kMostTickets;

/// One expert's matrices. A table has n_expert of them a layer.
struct ExpertEntry {
    const std::byte *gate, *up, *down;
    std::uint64_t held;  // 1: by this device
};

}  // namespace lfm::gpu
