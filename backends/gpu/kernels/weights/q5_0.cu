// 22 bytes: scale, 32 fifth bits, 16 bytes of two levels each.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_0 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    struct Raw {
        LoadedWords<6> words;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        return {load_words<6>(word_before(row + 22 * item))};
    }
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Item stored = unpack_stored(raw, row, item);
        return item_of(subtract_from_each(stored.low.level, 16), subtract_from_each(stored.high.level, 16),
                       stored.low.scale, 0);
    }

    static constexpr Stored kLow{1, 16}, kHigh{1, 16};
    static __device__ Item unpack_stored(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::uint32_t to_block = bits_after_word(row + 22 * item), to_body = to_block + 16;
        const float scale = half_of(raw.words.at[0] >> to_block & 0xffff);
        const std::uint32_t qh = funnel(raw.words.at[0], raw.words.at[1], to_body);
        const Words4 qs = sixteen<1>(raw.words, to_body);
        return item_of(add_fifth_bits(low_nibbles(qs), qh), add_fifth_bits(high_nibbles(qs), qh >> 16), scale, 0);
    }
};

MatmulKernels q5_0_kernels() { return kernels_of<Q5_0>(); }

}  // namespace lfm::gpu
