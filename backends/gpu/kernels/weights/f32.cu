// F32.
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct F32 {
    static constexpr bool kIsFloat = true;
    static constexpr std::uint32_t kBytes = 4;

    /// Eight weights from a multiple of 16 bytes.
    static __device__ void load_eight(const std::byte* from, float (&w)[8]) {
        const Words4 first = load<Words4>(from), second = load<Words4>(from + 16);
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            w[i] = float_of_bits(first.at[i]);
            w[4 + i] = float_of_bits(second.at[i]);
        }
    }
    static __device__ float load_one(const std::byte* from) { return load<float>(from); }
};

MatmulKernels f32_kernels() { return kernels_of<F32>(); }

}  // namespace lfm::gpu
