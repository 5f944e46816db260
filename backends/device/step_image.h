// What kernels read of a step, as bytes: a header, and what it points to. StepParams is copied into it for each step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

#include "backends/backend.h"
#include "backends/device/grid.h"
#include "backends/needs/device_needs.h"

namespace lfm {

/// How much of StepParams the recorded operations read.
struct StepNeeds {
    std::uint32_t head_dim = 0;
    std::uint32_t n_moe_layer = 0;
    std::uint32_t n_expert_used = 0;

    void include(const Operation& operation);
    bool operator==(const StepNeeds&) const = default;
    /// Whether what serves these needs serves `other` too.
    bool hold(const StepNeeds& other) const {
        return other.head_dim <= head_dim && other.n_moe_layer <= n_moe_layer && other.n_expert_used <= n_expert_used;
    }
};

/// As kernels declare it (backends/vulkan/shaders/step.glsl, backends/gpu/kernels/step.h).
struct StepHeader {
    std::uint32_t n_tokens = 0, position = 0, window = 0, n_outputs = 0, has_forced = 0, unused = 0;
    std::uint64_t token_ids = 0, output_rows = 0, rope = 0, forced_experts = 0;  // addresses
};

static_assert(sizeof(StepHeader) == needs::kStepHeaderBytes);

/// Where its parts lie, for the largest step.
class StepImage {
public:
    /// `gap` bytes of the caller's own stand after the header.
    StepImage(const BackendLimits& limits, const StepNeeds& needs, std::size_t gap);

    const StepNeeds& needs() const { return needs_; }
    std::size_t size() const { return size_; }
    std::size_t gap_at() const { return align(sizeof(StepHeader)); }
    /// Writes the step to `to`, which kernels know as `address`. Throws Error{kUsage} when it exceeds the limits.
    StepHeader fill(std::byte* to, std::uint64_t address, const StepParams& step) const;
    /// How much of what was filled in matters: bytes from the beginning, and from forced_at() on.
    std::size_t used(const StepHeader& header) const {
        return rope_at_ + std::size_t{header.n_tokens} * needs_.head_dim * sizeof(float);
    }
    std::size_t forced_at() const { return forced_at_; }
    std::size_t forced_used(const StepHeader& header) const;

private:
    static constexpr std::size_t align(std::size_t n) { return (n + 63) / 64 * 64; }

    BackendLimits limits_;
    StepNeeds needs_;
    std::size_t tokens_at_, outputs_at_, rope_at_, forced_at_, size_;
};

/// The class of a step, and how many groups an axis has in it.
inline StepClass class_of(const StepHeader& step) {
    return step.n_tokens == 1 && step.n_outputs <= 1 ? StepClass::kOne : StepClass::kMany;
}
inline std::uint32_t groups_in(const Axis& axis, const StepHeader& step) {
    if (!axis.rows) return axis.groups;
    return groups_of(*axis.rows == RowSet::kTokens ? step.n_tokens : step.n_outputs, axis.per_group) * axis.groups;
}
/// With the largest step.
inline std::uint64_t most_groups(const Axis& axis, std::uint32_t n_batch) {
    return axis.rows ? std::uint64_t{groups_of(n_batch, axis.per_group)} * axis.groups : axis.groups;
}

}  // namespace lfm
