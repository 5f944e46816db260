// 24 bytes: scale, minimum, 32 fifth bits, 16 bytes of two levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_1 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 24 * item;
        const std::uint32_t head = load_word(block), qh = load_word(block, 1);
        const Words4 qs = load_16_words(block + 8);
        return item_of(add_fifth_bits(low_nibbles(qs), qh), add_fifth_bits(high_nibbles(qs), qh >> 16),
                       half_of(head & 0xffff), -half_of(head >> 16));
    }
};

MatmulKernels q5_1_kernels() { return kernels_of<Q5_1>(); }

}  // namespace lfm::gpu
