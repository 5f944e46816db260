// 144 bytes: scale and minimum of all, eight of each in 6 bits, 128 bytes of two levels of 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 144 * (item / 8);
        const std::uint32_t i = item % 8, group = i / 2 * 2;
        const Words4 head = load_16_words(block);
        const Words4 qs = load_16_words(block + 16 + 16 * i);
        const float d = half_of(head.at[0] & 0xffff), dmin = half_of(head.at[0] >> 16);
        const SixBitScale first = six_bit_scale(head, group), second = six_bit_scale(head, group + 1);
        return {{low_nibbles(qs), d * first.scale, dmin * first.min},
                {high_nibbles(qs), d * second.scale, dmin * second.min}};
    }
};

MatmulKernels q4_k_kernels() { return kernels_of<Q4_K>(); }

}  // namespace lfm::gpu
