// Where an expert's matrices are for one operation.
#pragma once

#include "backends/gpu/kernels/matmul.h"
#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

// ExpertSet of backend.h
inline constexpr std::uint32_t kStagedExperts = 1;

/// `held` says whether the expert belongs to the set.
__device__ inline ExpertEntry find_expert(const ExpertSource& source, std::uint32_t id) {
    if (id >= source.n_expert) return {nullptr, nullptr, nullptr, 0};
    const ExpertEntry entry = source.table[id];  // loaded without waiting for the slot: one trip to memory, not two
    const std::int32_t slot = source.slot_of != nullptr ? source.slot_of[id] : -1;
    if (source.set == kStagedExperts) {
        if (slot < 0) return {nullptr, nullptr, nullptr, 0};
        const std::byte* at = source.slots + static_cast<std::uint32_t>(slot) * source.slot_bytes;
        return {at, at + source.up_offset, at + source.down_offset, 1};
    }
    if (slot >= 0) return {nullptr, nullptr, nullptr, 0};
    return entry;
}

}  // namespace lfm::gpu
