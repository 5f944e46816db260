// F16.
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct F16 {
    static constexpr bool kIsFloat = true;
    static constexpr std::uint32_t kBytes = 2;
    static constexpr SixteenBits kBits = SixteenBits::kHalf;

    /// Eight weights from a multiple of 16 bytes.
    static __device__ void load_eight(const std::byte* from, float (&w)[8]) {
        const Words4 words = load<Words4>(from);
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            w[2 * i] = half_of(words.at[i] & 0xffff);
            w[2 * i + 1] = half_of(words.at[i] >> 16);
        }
    }
    static __device__ float load_one(const std::byte* from) { return half_of(load<std::uint16_t>(from)); }
};

MatmulKernels f16_kernels() { return kernels_of<F16>(); }

}  // namespace lfm::gpu
