// Sixteen bytes as one load or store. Their addresses are multiples of 16.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

struct alignas(16) Floats4 {
    float x, y, z, w;
};
struct alignas(16) Words4 {
    std::uint32_t at[4];
};

}  // namespace lfm::gpu
