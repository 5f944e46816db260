// 18 bytes: scale, 16 bytes of two indices of the table of levels.
#include "backends/gpu/kernels/weight_kernels.h"
#include "backends/gpu/kernels/weights/scaled_nibbles.h"

namespace lfm::gpu {

struct IQ4_NLLevels {
    static __device__ Words4 of(const Words4& indices) { return look_up(iq4_table(), indices); }
};

MatmulKernels iq4_nl_kernels() { return kernels_of<ScaledNibbles<IQ4_NLLevels>>(); }

}  // namespace lfm::gpu
