// 210 bytes: 256 low halves, 256 high pairs of bits, 16 scales of 8 bits, scale of all.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q6_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kFourApart;
    static constexpr bool kOneScale = false;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 210 * (item / 8);
        const std::uint32_t i = item % 8, half_block = i / 4, quarter = i / 2 % 2, l = i % 2;
        const Words4 ql = load_16(block + 16 * i);
        const Words4 qh = load_16(block + 128 + 32 * half_block + 16 * l);
        const std::byte* scales = block + 192 + 8 * half_block + 2 * quarter + l;
        const float d = half_of(load_half(block + 208));
        const Words4 low = each(ql, qh, [quarter](std::uint32_t nibbles, std::uint32_t pairs) {
            return (nibbles & 0x0f0f0f0fu) | (pairs >> 2 * quarter & 0x03030303u) << 4;
        });
        const Words4 high = each(ql, qh, [quarter](std::uint32_t nibbles, std::uint32_t pairs) {
            return (nibbles >> 4 & 0x0f0f0f0fu) | (pairs >> (2 * quarter + 4) & 0x03030303u) << 4;
        });
        return {{subtract_from_each(low, 32), d * static_cast<float>(signed_byte(load_byte(scales))), 0},
                {subtract_from_each(high, 32), d * static_cast<float>(signed_byte(load_byte(scales + 4))), 0}};
    }
};

MatmulKernels q6_k_kernels() { return kernels_of<Q6_K>(); }

}  // namespace lfm::gpu
