// 210 bytes: 256 low halves, 256 high pairs of bits, 16 scales of 8 bits, scale of all.
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
        std::uint32_t first_scale, second_scale, d;  // the words in which they begin
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 210 * (item / 8);
        const std::uint32_t i = item % 8, half_block = i / 4, quarter = i / 2 % 2, l = i % 2;
        const std::byte* scales = block + 192 + 8 * half_block + 2 * quarter + l;
        return {load_words<5>(word_before(block + 16 * i)),
                load_words<5>(word_before(block + 128 + 32 * half_block + 16 * l)), load_word(word_before(scales)),
                load_word(word_before(scales + 4)), load_word(word_before(block + 208))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::byte* block = row + 210 * (item / 8);
        const std::uint32_t i = item % 8, quarter = i / 2 % 2, l = i % 2;
        const std::uint32_t to_block = bits_after_word(block);  // and to the levels
        const std::uint32_t to_scale = bits_after_word(block + 2 * quarter + l);
        const Words4 ql = sixteen<0>(raw.ql, to_block), qh = sixteen<0>(raw.qh, to_block);
        const float d = half_of(raw.d >> to_block & 0xffff);
        const Words4 low = each(ql, qh, [quarter](std::uint32_t nibbles, std::uint32_t pairs) {
            return (nibbles & 0x0f0f0f0fu) | (pairs >> 2 * quarter & 0x03030303u) << 4;
        });
        const Words4 high = each(ql, qh, [quarter](std::uint32_t nibbles, std::uint32_t pairs) {
            return (nibbles >> 4 & 0x0f0f0f0fu) | (pairs >> (2 * quarter + 4) & 0x03030303u) << 4;
        });
        return {{subtract_from_each(low, 32), d * static_cast<float>(signed_byte(raw.first_scale >> to_scale)), 0},
                {subtract_from_each(high, 32), d * static_cast<float>(signed_byte(raw.second_scale >> to_scale)), 0}};
    }
};

MatmulKernels q6_k_kernels() { return kernels_of<Q6_K>(); }

}  // namespace lfm::gpu
