// 176 bytes: as Q4_K, with 256 fifth bits before the levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 176 * (item / 8);
        const std::uint32_t i = item % 8, group = i / 2 * 2;
        const Words4 head = load_16_words(block);
        const Words4 qh = load_16_words(block + 16 + 16 * (i % 2));
        const Words4 qs = load_16_words(block + 48 + 16 * i);
        const float d = half_of(head.at[0] & 0xffff), dmin = half_of(head.at[0] >> 16);
        const SixBitScale first = six_bit_scale(head, group), second = six_bit_scale(head, group + 1);
        const Words4 low = each(qs, qh, [group](std::uint32_t nibbles, std::uint32_t fifth) {
            return (nibbles & 0x0f0f0f0fu) | (fifth >> group & 0x01010101u) << 4;
        });
        const Words4 high = each(qs, qh, [group](std::uint32_t nibbles, std::uint32_t fifth) {
            return (nibbles >> 4 & 0x0f0f0f0fu) | (fifth >> (group + 1) & 0x01010101u) << 4;
        });
        return {{low, d * first.scale, dmin * first.min}, {high, d * second.scale, dmin * second.min}};
    }
};

MatmulKernels q5_k_kernels() { return kernels_of<Q5_K>(); }

}  // namespace lfm::gpu
