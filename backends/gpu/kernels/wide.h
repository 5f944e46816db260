// Floats that one instruction loads or stores together. Their addresses are multiples of their size.
#pragma once

#include <cstdint>

#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

struct alignas(8) Floats2 {
    float x, y;
};
struct alignas(16) Floats4 {
    float x, y, z, w;
};

}  // namespace lfm::gpu
