// 20 bytes: scale, minimum, 16 bytes of two levels of 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_1 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 20 * item;
        const std::uint32_t head = load_word(block);
        const Words4 qs = load_16_words(block + 4);
        return item_of(low_nibbles(qs), high_nibbles(qs), half_of(head & 0xffff), -half_of(head >> 16));
    }
};

MatmulKernels q4_1_kernels() { return kernels_of<Q4_1>(); }

}  // namespace lfm::gpu
