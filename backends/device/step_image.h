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

/// As kernels declare it (backends/vulkan/shaders/step.glsl, backends/gpu/kernels/step.h). Its sequences, n_sequences
/// of StepSequenceRows, follow it.
struct StepHeader {
    std::uint32_t n_tokens = 0, n_outputs = 0, has_forced = 0;
    std::uint32_t n_sequences = 0, n_singles = 0;  // singles: sequences of one row, which come first
    std::uint32_t n_page_copies = 0;
    std::uint32_t moves_windows = 0;  // 1: a window is not in its ring, or is to be saved
    std::uint32_t unused = 0;
    std::uint64_t token_ids = 0, output_rows = 0, rope = 0, forced_experts = 0;  // addresses
    std::uint64_t kv_rows = 0;        // of u32 [n]: each token's row of a cache; StepSequence::kNowhere: not written
    std::uint64_t row_sequences = 0;  // of u32 [n]: which of the sequences
    std::uint64_t page_copies = 0;    // of PageCopy [n_page_copies]
};

/// A StepSequence as kernels declare it.
struct StepSequenceRows {
    std::uint64_t pages = 0;  // address of u32 [pages up to its last row]; 0: page i is the cache's page i
    std::uint32_t first_row = 0, n_rows = 0, position = 0;
    std::uint32_t ring = 0, window = 0;
    std::uint32_t window_from = 0;  // WindowFrom
    std::uint32_t saved = 0, save_to = 0;
};

static_assert(sizeof(StepHeader) == needs::kStepHeaderBytes && sizeof(StepSequenceRows) == needs::kStepSequenceBytes &&
              sizeof(PageCopy) == needs::kStepPageCopyBytes);

/// Writes steps down as kernels read them.
class StepImage {
public:
    /// `gap` bytes of the caller's own stand after the header and its sequences.
    StepImage(const BackendLimits& limits, const StepNeeds& needs, std::size_t gap);

    const StepNeeds& needs() const { return needs_; }
    /// Bytes of the largest step.
    std::size_t size() const { return size_; }
    std::size_t gap_at() const { return align(sizeof(StepHeader) + limits_.n_sequences * sizeof(StepSequenceRows)); }
    struct Filled {
        StepHeader header;
        std::size_t size = 0;  // bytes that matter, from the beginning
    };
    /// Writes the step to `to`, which kernels know as `address`. Throws Error{kUsage} when it exceeds the limits.
    Filled fill(std::byte* to, std::uint64_t address, const StepParams& step) const;

private:
    static constexpr std::size_t align(std::size_t n) { return (n + 63) / 64 * 64; }

    BackendLimits limits_;
    StepNeeds needs_;
    std::size_t gap_, size_;
};

/// The class of a step, and how many groups an axis has in it.
inline StepClass class_of(const StepHeader& step) {
    const bool is_one = step.n_tokens == 1 && step.n_outputs <= 1 && step.n_page_copies == 0 && step.moves_windows == 0;
    return is_one ? StepClass::kOne : StepClass::kMany;
}
std::uint32_t groups_in(const Axis& axis, const StepHeader& step);
/// With the largest step.
std::uint64_t most_groups(const Axis& axis, const BackendLimits& limits);

}  // namespace lfm
