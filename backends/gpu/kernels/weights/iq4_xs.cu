// 136 bytes: scale of all, eight scales of 6 bits, 128 bytes of two indices of the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct IQ4_XS {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 136 * (item / 8);
        const std::uint32_t i = item % 8, head = load_word(block);
        const Words4 qs = load_16_words(block + 8 + 16 * i);
        const std::uint32_t low = load_word(block, 1) >> 4 * i & 15, high = head >> (16 + 2 * i) & 3;
        const float scale =
            half_of(head & 0xffff) * static_cast<float>(static_cast<std::int32_t>(low | high << 4) - 32);
        return item_of(look_up(iq4_table(), low_nibbles(qs)), look_up(iq4_table(), high_nibbles(qs)), scale, 0);
    }
};

MatmulKernels iq4_xs_kernels() { return kernels_of<IQ4_XS>(); }

}  // namespace lfm::gpu
