// 210 bytes: 256 low nibbles, 256 high pairs of bits, 16 scales of 8 bits, the block's scale.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q6_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kFourApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = false;

    struct Raw {
        LoadedWords<5> ql, qh;
        std::uint32_t first_scale, second_scale, d;  // the words in which these begin
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 210 * (item / 8);
        const std::uint32_t i = item % 8, half_block = i / 4, quarter = i / 2 % 2, l = i % 2;
        const std::byte* scales = block + 192 + 8 * half_block + 2 * quarter + l;
        const std::byte *words = word_before(block), *of_scales = word_before(scales);
        return {load_words<5>(words + 16 * i), load_words<5>(words + 128 + 32 * half_block + 16 * l),
                load_word(of_scales), load_word(of_scales, 1), load_word(words + 208)};
    }
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Item stored = unpack_stored(raw, row, item);
        return {{subtract_from_each(stored.low.level, 32), stored.low.scale, 0},
                {subtract_from_each(stored.high.level, 32), stored.high.scale, 0}};
    }

    static constexpr Stored kLow{1, 32}, kHigh{1, 32};
    static __device__ Item unpack_stored(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 210 * (item / 8);
        const std::uint32_t i = item % 8, quarter = i / 2 % 2, l = i % 2;
        const std::uint32_t to_block = bits_after_word(block);  // and to the levels
        const std::uint32_t to_scale = bits_after_word(block + 2 * quarter + l);
        const Words4 ql = sixteen<0>(raw.ql, to_block), qh = sixteen<0>(raw.qh, to_block);
        const float d = half_of(raw.d >> to_block & 0xffff);
        const Words4 pairs = each(qh, [quarter](std::uint32_t word) { return word >> 2 * quarter; });
        const Words4 low = each(ql, pairs, [](std::uint32_t nibbles, std::uint32_t two) {
            return (nibbles & 0x0f0f0f0fu) | (two << 4 & 0x30303030u);
        });
        const Words4 high = each(ql, pairs, [](std::uint32_t nibbles, std::uint32_t two) {
            return (nibbles >> 4 & 0x0f0f0f0fu) | (two & 0x30303030u);
        });
        return {{low, d * static_cast<float>(signed_byte(raw.first_scale >> to_scale)), 0},
                {high, d * static_cast<float>(signed_byte(raw.second_scale >> to_scale)), 0}};
    }
};

MatmulKernels q6_k_kernels() { return kernels_of<Q6_K>(); }

}  // namespace lfm::gpu
