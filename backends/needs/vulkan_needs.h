// Sizes of the Vulkan backend.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/needs/device_needs.h"

namespace lfm::needs::vulkan {

/// Added to every block: room to align the address, of which at least 16 bytes remain at the end.
inline constexpr std::uint64_t kSpare = 256;
/// What drivers round a buffer's size up to.
inline constexpr std::uint64_t kUnit = 256;

/// Distinct grids of all programs recorded with one StepParams, and the bytes of a grid's group counts. A layer program
/// has some thirty.
inline constexpr std::uint64_t kMostGrids = 512, kGridBytes = 12;

/// A row's keys are shared out among groups: the fewest keys worth a group, the most groups for the only row of a step,
/// the most for single rows of several sequences.
inline constexpr std::uint32_t kKeysOfSplit = 64, kMostSplits = 32, kMostSplitsOfMany = 16;
constexpr std::uint32_t splits(std::uint32_t n_ctx) {
    return std::clamp((n_ctx + kKeysOfSplit - 1) / kKeysOfSplit, 1u, kMostSplits);
}
constexpr std::uint32_t splits_of_many(std::uint32_t n_ctx) { return std::min(splits(n_ctx), kMostSplitsOfMany); }
/// Of all rows of a step.
constexpr std::uint32_t most_splits(std::uint32_t n_ctx, std::uint32_t n_sequences) {
    return std::max(splits(n_ctx), n_sequences * splits_of_many(n_ctx));
}
/// What a split leaves for one head: its sums, its largest score, the sum of its weights.
constexpr std::uint64_t split_bytes(std::uint64_t head_dim) { return (head_dim + 2) * sizeof(float); }

}  // namespace lfm::needs::vulkan
