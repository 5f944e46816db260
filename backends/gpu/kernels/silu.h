// The activation of feed-forward layers.
#pragma once

#include <cmath>

#include "backends/gpu/platform/kernel.h"

namespace lfm::gpu {

__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

}  // namespace lfm::gpu
