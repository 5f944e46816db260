// What a step is given, in memory of its own: StepParams and the arrays that it names, for the largest step.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backends/step_params.h"
#include "memory/host_buffer.h"
#include "planner/cost/inventory.h"
#include "planner/model/model.h"

namespace lfm {

/// Which expert (moe_layer, position, choice) uses, instead of the router's choice.
using ExpertSource = std::function<std::int32_t(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice)>;

enum class Outputs : std::uint8_t { kLast, kAll };  // which rows get logits

class StepInputs {
public:
    StepInputs(const HyperParameters& hyper, const SessionSizes& sizes, Ledger& ledger);
    StepInputs(const StepInputs&) = delete;
    StepInputs& operator=(const StepInputs&) = delete;

    const StepParams& params() const { return params_; }
    /// A step of one sequence; `experts` may be empty. Throws Error{kInvalidInput} for an expert out of range.
    void write(const StepSequence& sequence, std::span<const std::int32_t> tokens, Outputs outputs,
               const ExpertSource& experts);

private:
    void force(const ExpertSource& experts);

    const HyperParameters& hyper_;
    HostBuffer buffer_;
    std::int32_t* token_ids_ = nullptr;      // [n_batch]
    std::uint32_t* output_rows_ = nullptr;   // [n_outputs]
    float* rope_ = nullptr;                  // [n_batch, head_dim]
    std::int32_t* forced_ = nullptr;         // [n_moe_layer, n_batch, n_expert_used]
    std::vector<double> frequencies_;        // [head_dim / 2]
    std::array<StepSequence, 1> sequences_;  // kernels know one
    StepParams params_;
};

}  // namespace lfm
