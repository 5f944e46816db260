// 144 bytes: scale and minimum of all, eight of each in 6 bits, 128 bytes of two levels of 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    struct Raw {
        Words4 head, qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 144 * (item / 8);
        return {load_16_words(block), load_16_words(block + 16 + 16 * (item % 8))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t group = item % 8 / 2 * 2;
        const float d = half_of(raw.head.at[0] & 0xffff), dmin = half_of(raw.head.at[0] >> 16);
        const SixBitScale first = six_bit_scale(raw.head, group), second = six_bit_scale(raw.head, group + 1);
        return {{low_nibbles(raw.qs), d * first.scale, dmin * first.min},
                {high_nibbles(raw.qs), d * second.scale, dmin * second.min}};
    }
};

MatmulKernels q4_k_kernels() { return kernels_of<Q4_K>(); }

}  // namespace lfm::gpu
