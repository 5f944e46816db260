// 84 bytes: 16 scales and minima of 4 bits, 64 bytes of four levels of 0 … 3, scale and minimum of all.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q2_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = true;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 84 * (item / 8);
        const std::uint32_t i = item % 8, half_block = i / 4, pair = i / 2 % 2, l = i % 2;
        const std::uint32_t first = 8 * half_block + 4 * pair + l, second = first + 2;
        const Words4 qs = load_16_words(block + 16 + 32 * half_block + 16 * l);
        const std::uint32_t head = load_word(block, 20);
        const std::uint32_t scales = load_word(block, first / 4);  // those of both runs
        const float d = half_of(head & 0xffff), dmin = half_of(head >> 16);
        const std::uint32_t a = scales >> 8 * (first % 4) & 0xff, b = scales >> 8 * (second % 4) & 0xff;
        const auto low = [pair](std::uint32_t word) { return word >> 4 * pair & 0x03030303u; };
        const auto high = [pair](std::uint32_t word) { return word >> (4 * pair + 2) & 0x03030303u; };
        return {{each(qs, low), d * static_cast<float>(a & 15), dmin * static_cast<float>(a >> 4)},
                {each(qs, high), d * static_cast<float>(b & 15), dmin * static_cast<float>(b >> 4)}};
    }
};

MatmulKernels q2_k_kernels() { return kernels_of<Q2_K>(); }

}  // namespace lfm::gpu
