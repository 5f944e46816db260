// Sizes of the CUDA and HIP backend.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/needs/device_needs.h"

namespace lfm::needs::gpu {

/// Added to every block; kernels may read it.
inline constexpr std::uint64_t kSpare = 16;
/// Units in which drivers hand out memory: the device's, pinned memory of the host, and both in the emulation.
inline constexpr std::uint64_t kUnit = std::uint64_t{2} << 20, kPinnedUnit = 4096, kEmulatedUnit = 256;

/// Tickets that a launch may use to learn which of its groups is the last, 32 bits each.
inline constexpr std::uint32_t kMostTickets = 512;

/// A row's keys are shared out among groups of threads: the fewest keys worth a group, the most groups for the only row
/// of a step, the most for single rows of several sequences.
inline constexpr std::uint32_t kKeysOfSplit = 64, kMostSplits = 256, kMostSplitsOfMany = 16;
/// The most splits that a context makes worth while.
constexpr std::uint32_t most_splits(std::uint32_t n_ctx) {
    return std::clamp((n_ctx + kKeysOfSplit - 1) / kKeysOfSplit, 1u, kMostSplits);
}
/// Of all rows of a step.
constexpr std::uint32_t most_splits(std::uint32_t n_ctx, std::uint32_t n_sequences) {
    return std::max(most_splits(n_ctx), n_sequences * std::min(most_splits(n_ctx), kMostSplitsOfMany));
}
/// What a split leaves for one head: its sums, its largest score and the sum of its weights.
inline constexpr std::uint64_t kPartWeightBytes = 8;
constexpr std::uint64_t split_bytes(std::uint64_t head_dim) { return head_dim * sizeof(float) + kPartWeightBytes; }

}  // namespace lfm::needs::gpu
