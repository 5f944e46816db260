// BF16: the upper half of an f32.
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct BF16 {
    static constexpr bool kIsFloat = true;
    static constexpr std::uint32_t kBytes = 2;
    static constexpr SixteenBits kBits = SixteenBits::kUpper;

    /// Eight weights from a multiple of 16 bytes.
    static __device__ void load_eight(const std::byte* from, float (&w)[8]) {
        const Words4 words = load<Words4>(from);
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            w[2 * i] = float_of_bits(words.at[i] << 16);
            w[2 * i + 1] = float_of_bits(words.at[i] & 0xffff0000u);
        }
    }
    static __device__ float load_one(const std::byte* from) {
        return float_of_bits(static_cast<std::uint32_t>(load<std::uint16_t>(from)) << 16);
    }
};

MatmulKernels bf16_kernels() { return kernels_of<BF16>(); }

}  // namespace lfm::gpu
