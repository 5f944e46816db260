// 84 bytes: 16 scales and minima of 4 bits, 64 bytes of four levels 0 … 3 each, the block's scale and minimum.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q2_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = true;

    struct Raw {
        Words4 qs;
        std::uint32_t head, scales;  // of the block; of both runs and two neighbours
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 84 * (item / 8);
        const std::uint32_t half_block = item % 8 / 4, pair = item / 2 % 2, l = item % 2;
        return {load_16_words(block + 16 + 32 * half_block + 16 * l), load_word(block, 20),
                load_word(block, 2 * half_block + pair)};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t pair = item / 2 % 2, l = item % 2;
        const float d = half_of(raw.head & 0xffff), dmin = half_of(raw.head >> 16);
        const std::uint32_t a = raw.scales >> 8 * l & 0xff, b = raw.scales >> (8 * l + 16) & 0xff;
        const auto low = [pair](std::uint32_t word) { return word >> 4 * pair & 0x03030303u; };
        const auto high = [pair](std::uint32_t word) { return word >> (4 * pair + 2) & 0x03030303u; };
        return {{each(raw.qs, low), d * static_cast<float>(a & 15), dmin * static_cast<float>(a >> 4)},
                {each(raw.qs, high), d * static_cast<float>(b & 15), dmin * static_cast<float>(b >> 4)}};
    }
};

MatmulKernels q2_k_kernels() { return kernels_of<Q2_K>(); }

}  // namespace lfm::gpu
