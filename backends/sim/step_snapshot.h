// A device's own copy of StepParams and of what they point at, taken between steps.
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "memory/host_buffer.h"

namespace lfm::sim {

/// Room for the largest step of the programs recorded with one StepParams.
class StepSnapshot {
public:
    StepSnapshot(const StepParams& source, BackendLimits limits) : source_(&source), limits_(limits) {}
    StepSnapshot(const StepSnapshot&) = delete;
    StepSnapshot& operator=(const StepSnapshot&) = delete;

    const StepParams* source() const { return source_; }
    /// What programs read; the same address for ever.
    const StepParams& params() const { return params_; }

    /// Makes room for what these operations read. Throws Error{kShortfall}.
    void reserve(std::span<const Operation> operations, Ledger& ledger);
    /// Copies the step. Throws Error{kUsage} when it is larger than the limits.
    void take(std::string_view where);

private:
    const StepParams* source_;
    BackendLimits limits_;
    std::size_t rope_width_ = 0;  // floats per token
    std::size_t n_choices_ = 0;   // [n_moe_layer, n_expert_used]: forced experts per token
    HostBuffer token_ids_, output_rows_, rope_, forced_experts_;
    std::vector<StepSequence> sequences_;  // [limits_.n_sequences]
    std::vector<PageCopy> page_copies_;    // likewise
    std::vector<std::uint32_t> pages_;     // [limits_.n_sequences, pages of n_ctx]
    StepParams params_;
};

}  // namespace lfm::sim
