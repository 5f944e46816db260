// Sizes of the Vulkan backend.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/needs/device_needs.h"

namespace lfm::needs::vulkan {

/// More than is asked for in every block: room to align the address, of which at least 16 bytes remain at the end.
inline constexpr std::uint64_t kSpare = 256;
/// What drivers round a buffer's size up to.
inline constexpr std::uint64_t kUnit = 256;

/// Distinct shapes of work of all programs over one step, with the bytes of their group counts. A layer program has
/// some thirty.
inline constexpr std::uint64_t kMostGrids = 512, kGridBytes = 12;

/// One token's keys are shared out among groups: the fewest keys worth a group, the most groups.
inline constexpr std::uint32_t kKeysOfSplit = 64, kMostSplits = 32;
constexpr std::uint32_t splits(std::uint32_t n_ctx) {
    return std::clamp((n_ctx + kKeysOfSplit - 1) / kKeysOfSplit, 1u, kMostSplits);
}
/// What a split leaves for one head: its sums, its largest score, the sum of its weights.
constexpr std::uint64_t split_bytes(std::uint64_t head_dim) { return (head_dim + 2) * sizeof(float); }

}  // namespace lfm::needs::vulkan
