// Working memory between the kernels of one operation on a GPU: named areas, sized when programs are recorded.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "backends/backend.h"
#include "backends/needs/device_needs.h"

namespace lfm {

/// Operations run one after another, so each may use every area; nothing survives from one operation to the next.
enum class ScratchUse : std::uint8_t {
    kQuantised,       // activations in 8 bits: [n, widest input]
    kQuantisedScale,  // f32, one a block
    kQuantisedSum,    // sums of neighbouring values
    kRouterLogits,    // f32 [n, n_expert]
    kPairs,           // which tokens go to which expert
    kPairCounts,      // how many, and where each expert's begin
    kGate,            // f32 [n · n_expert_used, n_ff]
    kUp,              // f32 [n · n_expert_used, n_ff]
    kHidden,          // the gated rows in 8 bits
    kHiddenScale,
    kHiddenSum,
    kExpertOut,  // f32 [n · n_expert_used, n_embd]
    kAttention,  // partial results of attention
    kCount,
};

/// What the recorded operations need: the largest request for each area.
class ScratchSizes {
public:
    explicit ScratchSizes(const BackendLimits& limits) : limits_(limits) {}

    const BackendLimits& limits() const { return limits_; }
    void need(ScratchUse use, std::size_t bytes) {
        std::size_t& size = bytes_[static_cast<std::size_t>(use)];
        size = std::max(size, bytes);
    }
    std::size_t bytes(ScratchUse use) const { return bytes_[static_cast<std::size_t>(use)]; }
    /// Whether no area is larger than the other's.
    bool within(const ScratchSizes& other) const {
        return std::ranges::equal(bytes_, other.bytes_, std::less_equal<>());
    }
    /// Where the area begins in the one block that holds them all, and how long that is; areas are 256-byte aligned
    /// and followed by at least 16 spare bytes.
    std::size_t offset(ScratchUse use) const {
        std::size_t at = 0;
        for (std::size_t i = 0; i < static_cast<std::size_t>(use); ++i) at += needs::scratch_area(bytes_[i]);
        return at;
    }
    std::size_t total() const { return offset(ScratchUse::kCount); }

private:
    BackendLimits limits_;
    std::array<std::size_t, static_cast<std::size_t>(ScratchUse::kCount)> bytes_{};
};

}  // namespace lfm
