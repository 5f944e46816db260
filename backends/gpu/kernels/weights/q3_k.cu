// 110 bytes: 256 third bits, 64 bytes of four levels, 16 scales of 6 bits, scale of all.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

/// Of run k, from the twelve bytes that hold sixteen.
__device__ inline float q3_scale(const std::byte* scales, std::uint32_t k) {
    const std::uint32_t low = load_byte(scales + k % 8) >> k / 8 * 4 & 15;
    const std::uint32_t high = load_byte(scales + 8 + k % 4) >> k / 4 * 2 & 3;
    return static_cast<float>(static_cast<std::int32_t>(low | high << 4) - 32);
}

struct Q3_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 110 * (item / 8);
        const std::uint32_t i = item % 8, half_block = i / 4, pair = i / 2 % 2, l = i % 2;
        const std::uint32_t shift = 4 * half_block + 2 * pair;
        const Words4 third = load_16(block + 16 * l);
        const Words4 qs = load_16(block + 32 + 32 * half_block + 16 * l);
        const std::uint32_t first = 8 * half_block + 4 * pair + l;
        const float d = half_of(load_half(block + 108));
        const Words4 low = each(qs, third, [pair, shift](std::uint32_t two, std::uint32_t bit) {
            return (two >> 4 * pair & 0x03030303u) | (bit >> shift & 0x01010101u) << 2;
        });
        const Words4 high = each(qs, third, [pair, shift](std::uint32_t two, std::uint32_t bit) {
            return (two >> (4 * pair + 2) & 0x03030303u) | (bit >> (shift + 1) & 0x01010101u) << 2;
        });
        return {{subtract_from_each(low, 4), d * q3_scale(block + 96, first), 0},
                {subtract_from_each(high, 4), d * q3_scale(block + 96, first + 2), 0}};
    }
};

MatmulKernels q3_k_kernels() { return kernels_of<Q3_K>(); }

}  // namespace lfm::gpu
