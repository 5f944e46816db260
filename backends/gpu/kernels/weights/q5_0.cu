// 22 bytes: scale, 32 fifth bits, 16 bytes of two levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_0 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 22 * item;
        const auto words = load_words<6>(word_before(block));
        const bool odd = is_odd_half(block);
        const std::uint32_t qh = odd ? words.at[1] : funnel(words.at[0], words.at[1], 16);
        const Words4 qs = sixteen_after_half<1>(words, odd);
        const float scale = half_of(words.at[0] >> (odd ? 16 : 0) & 0xffff);
        return item_of(subtract_from_each(add_fifth_bits(low_nibbles(qs), qh), 16),
                       subtract_from_each(add_fifth_bits(high_nibbles(qs), qh >> 16), 16), scale, 0);
    }
};

MatmulKernels q5_0_kernels() { return kernels_of<Q5_0>(); }

}  // namespace lfm::gpu
