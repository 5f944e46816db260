// 110 bytes: 256 third bits, 64 bytes of four levels each, 16 scales of 6 bits, the block's scale.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

/// The scale of run k, from the twelve bytes that hold all sixteen.
__device__ inline float q3_scale(const std::uint32_t (&bytes)[3], std::uint32_t k) {
    const std::uint32_t low = (k / 4 % 2 == 0 ? bytes[0] : bytes[1]) >> (8 * (k % 4) + k / 8 * 4) & 15;
    const std::uint32_t high = bytes[2] >> (8 * (k % 4) + k / 4 * 2) & 3;
    return static_cast<float>(static_cast<std::int32_t>(low | high << 4) - 32);
}

struct Q3_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = false;

    struct Raw {
        LoadedWords<5> third, qs;
        LoadedWords<4> tail;  // the scales, and the block's scale
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 110 * (item / 8);
        const std::uint32_t half_block = item % 8 / 4, l = item % 2;
        const std::byte* words = word_before(block);
        return {load_words<5>(words + 16 * l), load_words<5>(words + 32 + 32 * half_block + 16 * l),
                load_words<4>(words + 96)};
    }
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Item stored = unpack_stored(raw, row, item);
        return {{subtract_from_each(stored.low.level, 4), stored.low.scale, 0},
                {subtract_from_each(stored.high.level, 4), stored.high.scale, 0}};
    }

    static constexpr Stored kLow{1, 4}, kHigh{1, 4};
    static __device__ Item unpack_stored(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::uint32_t i = item % 8, half_block = i / 4, pair = i / 2 % 2, l = i % 2;
        const std::uint32_t to_block = bits_after_word(row + 110 * (item / 8));  // and to each of its parts
        const std::uint32_t shift = 4 * half_block + 2 * pair, first = 8 * half_block + 4 * pair + l;
        const Words4 third = sixteen<0>(raw.third, to_block), qs = sixteen<0>(raw.qs, to_block);
        std::uint32_t scales[3];
#pragma unroll
        for (std::uint32_t j = 0; j < 3; ++j) scales[j] = funnel(raw.tail.at[j], raw.tail.at[j + 1], to_block);
        const float d = half_of(raw.tail.at[3] >> to_block & 0xffff);
        const Words4 low = each(qs, third, [pair, shift](std::uint32_t two, std::uint32_t bit) {
            return (two >> 4 * pair & 0x03030303u) | (bit >> shift & 0x01010101u) << 2;
        });
        const Words4 high = each(qs, third, [pair, shift](std::uint32_t two, std::uint32_t bit) {
            return (two >> (4 * pair + 2) & 0x03030303u) | (bit >> (shift + 1) & 0x01010101u) << 2;
        });
        return {{low, d * q3_scale(scales, first), 0}, {high, d * q3_scale(scales, first + 2), 0}};
    }
};

MatmulKernels q3_k_kernels() { return kernels_of<Q3_K>(); }

}  // namespace lfm::gpu
