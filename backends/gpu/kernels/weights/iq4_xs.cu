// 136 bytes: the block's scale, eight scales of 6 bits, 128 bytes of two indices each into the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct IQ4_XS {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    struct Raw {
        Words2 head;  // the block's scale and upper bits of scales, lower bits of scales
        Words4 qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 136 * (item / 8);
        return {gpu::load<Words2>(block), load_16_pairs(block + 8 + 16 * (item % 8))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t i = item % 8;
        const std::uint32_t head = raw.head.at[0], low = raw.head.at[1] >> 4 * i & 15, high = head >> (16 + 2 * i) & 3;
        const float scale =
            half_of(head & 0xffff) * static_cast<float>(static_cast<std::int32_t>(low | high << 4) - 32);
        return item_of(look_up(iq4_table(), low_nibbles(raw.qs)), look_up(iq4_table(), high_nibbles(raw.qs)), scale, 0);
    }
};

MatmulKernels iq4_xs_kernels() { return kernels_of<IQ4_XS>(); }

}  // namespace lfm::gpu
