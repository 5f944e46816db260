// 176 bytes: as Q4_K, with 256 fifth bits before the levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q5_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;
    static constexpr std::uint32_t kVectorRegisters = 96;  // 80 are too few on sm_120

    struct Raw {
        Words4 head, qh, qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 176 * (item / 8);
        return {gpu::load<Words4>(block), gpu::load<Words4>(block + 16 + 16 * (item % 2)),
                gpu::load<Words4>(block + 48 + 16 * (item % 8))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t group = item % 8 / 2 * 2;
        const SixBitScales of = six_bit_scales(raw.head, group);
        const Words4 low = each(raw.qs, raw.qh, [group](std::uint32_t nibbles, std::uint32_t fifth) {
            return (nibbles & 0x0f0f0f0fu) | (fifth >> group & 0x01010101u) << 4;
        });
        const Words4 high = each(raw.qs, raw.qh, [group](std::uint32_t nibbles, std::uint32_t fifth) {
            return (nibbles >> 4 & 0x0f0f0f0fu) | (fifth >> (group + 1) & 0x01010101u) << 4;
        });
        return {{low, of.scale[0], of.min[0]}, {high, of.scale[1], of.min[1]}};
    }
};

MatmulKernels q5_k_kernels() { return kernels_of<Q5_K>(); }

}  // namespace lfm::gpu
