// An upper bound on the speed of kernels for many tokens: their multiplications alone, on registers.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {

/// The instructions with which a table multiplies weights of one type by activations and sums the products up, without
/// loads, scales and offsets. `run` returns when `rounds` are done; it is null when multiply_adds is 0.
struct MultiplyStream {
    void (*run)(std::uint64_t rounds) = nullptr;
    std::uint32_t multiply_adds = 0;  // of a round
};

/// multiply_adds is 0 for plain loops, whose instructions the compiler chooses.
MultiplyStream multiply_stream(const Kernels& kernels, DType type);

}  // namespace lfm::cpu
