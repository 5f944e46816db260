// What arithmetic could give at most: the multiplications of a kernel for many tokens, on registers alone.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/kernels.h"

namespace lfm::cpu {

/// The instructions with which a table multiplies weights of one type by activations and sums the products up, without
/// loads, scales and offsets. Blocks until `rounds` are done; never empty when multiply_adds is not 0.
struct MultiplyStream {
    void (*run)(std::uint64_t rounds) = nullptr;
    std::uint32_t multiply_adds = 0;  // of a round
};

/// Without multiply_adds for plain loops: they have no instructions of their own choice.
MultiplyStream multiply_stream(const Kernels& kernels, DType type);

}  // namespace lfm::cpu
