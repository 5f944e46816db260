// Makes a step's rows those of one sequence.
#pragma once

#include "backends/step_params.h"

namespace lfm::test {

/// All n_tokens rows of the step follow `position` tokens. `sequence` must live as long as the step.
inline void follow(StepParams& step, StepSequence& sequence, std::uint32_t position, std::uint32_t window = 0) {
    sequence = {.first_row = 0, .n_rows = step.n_tokens, .position = position, .window = window};
    step.sequences = {&sequence, 1};
}

}  // namespace lfm::test
