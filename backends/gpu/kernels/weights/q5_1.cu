// 24 bytes: scale, minimum, 32 fifth bits, 16 bytes of two levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_1 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    struct Raw {
        std::uint32_t head, qh;
        Words4 qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 24 * item;
        return {load_word(block), load_word(block, 1), load_16_words(block + 8)};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        return item_of(add_fifth_bits(low_nibbles(raw.qs), raw.qh), add_fifth_bits(high_nibbles(raw.qs), raw.qh >> 16),
                       half_of(raw.head & 0xffff), -half_of(raw.head >> 16));
    }
};

MatmulKernels q5_1_kernels() { return kernels_of<Q5_1>(); }

}  // namespace lfm::gpu
