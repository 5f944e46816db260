// What a step is given, in memory of its own: StepParams and the arrays that it names, for the largest step.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backends/step_params.h"
#include "memory/host_buffer.h"
#include "planner/cost/inventory.h"
#include "planner/model/model.h"
#include "runtime/state/sequence.h"

namespace lfm {

/// Which expert (moe_layer, position, choice) uses, instead of the router's choice.
using ExpertSource = std::function<std::int32_t(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice)>;

enum class Outputs : std::uint8_t { kNone, kLast, kAll };  // which rows get logits

/// One sequence's part of a step.
struct StepPart {
    Sequence* sequence = nullptr;
    std::span<const std::int32_t> tokens;  // that follow those it has computed
    Outputs outputs = Outputs::kLast;
    std::uint32_t save_to = StepSequence::kNowhere;  // conv row where its window behind them is saved
    std::uint32_t experts_shift = 0;                 // added to positions when an ExpertSource is asked, modulo 2^32
};

class StepInputs {
public:
    StepInputs(const HyperParameters& hyper, const SessionSizes& sizes, Ledger& ledger);
    StepInputs(const StepInputs&) = delete;
    StepInputs& operator=(const StepInputs&) = delete;

    const StepParams& params() const { return params_; }
    /// A step of these sequences, which have reserved what they need; `experts` may be empty.
    /// Throws Error{kInvalidInput} for an expert out of range, Error{kUsage} for more rows, outputs or sequences than
    /// there is room for.
    void write(std::span<const StepPart> parts, const ExpertSource& experts);

private:
    void add(const StepPart& part);
    void force(std::span<const StepPart> parts, const ExpertSource& experts);

    const HyperParameters& hyper_;
    const SessionSizes sizes_;
    HostBuffer buffer_;
    std::int32_t* token_ids_ = nullptr;     // [n_batch]
    std::uint32_t* output_rows_ = nullptr;  // [n_outputs]
    float* rope_ = nullptr;                 // [n_batch, head_dim]
    std::int32_t* forced_ = nullptr;        // [n_moe_layer, n_batch, n_expert_used]
    std::vector<double> frequencies_;       // [head_dim / 2]
    std::vector<StepSequence> sequences_;   // room for n_sequences
    std::vector<PageCopy> page_copies_;     // likewise
    StepParams params_;
};

}  // namespace lfm
