// 24 bytes: scale, minimum, 32 fifth bits, 16 bytes of two levels each.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_1 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    struct Raw {
        Words2 head;  // scale and minimum, fifth bits
        Words4 qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 24 * item;
        return {gpu::load<Words2>(block), load_16_pairs(block + 8)};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t scales = raw.head.at[0], qh = raw.head.at[1];
        return item_of(add_fifth_bits(low_nibbles(raw.qs), qh), add_fifth_bits(high_nibbles(raw.qs), qh >> 16),
                       half_of(scales & 0xffff), -half_of(scales >> 16));
    }
};

MatmulKernels q5_1_kernels() { return kernels_of<Q5_1>(); }

}  // namespace lfm::gpu
