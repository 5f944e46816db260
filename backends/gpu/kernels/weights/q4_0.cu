// 18 bytes: scale, 16 bytes of two levels of 0 … 15 that stand for -8 … 7.
#include "backends/gpu/kernels/weight_kernels.h"
#include "backends/gpu/kernels/weights/scaled_nibbles.h"

namespace lfm::gpu {

struct Q4_0Levels {
    static __device__ Words4 of(const Words4& indices) { return subtract_from_each(indices, 8); }
};

MatmulKernels q4_0_kernels() { return kernels_of<ScaledNibbles<Q4_0Levels>>(); }

}  // namespace lfm::gpu
