// 144 bytes: the block's scale and minimum, eight of each in 6 bits, 128 bytes of two levels each, 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_K {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kTwoApart;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = true;

    struct Raw {
        Words4 head, qs;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 144 * (item / 8);
        return {gpu::load<Words4>(block), gpu::load<Words4>(block + 16 + 16 * (item % 8))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const SixBitScales of = six_bit_scales(raw.head, item % 8 / 2 * 2);
        return {{low_nibbles(raw.qs), of.scale[0], of.min[0]}, {high_nibbles(raw.qs), of.scale[1], of.min[1]}};
    }

    static constexpr Stored kLow{1, 0}, kHigh{kUpperTimes, 0};
    static __device__ Item unpack_stored(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                         [[maybe_unused]] std::uint32_t item) {
        const SixBitScales of = six_bit_scales(raw.head, item % 8 / 2 * 2);
        return {{low_nibbles(raw.qs), of.scale[0], of.min[0]}, {upper_nibbles(raw.qs), of.scale[1], of.min[1]}};
    }
};

MatmulKernels q4_k_kernels() { return kernels_of<Q4_K>(); }

}  // namespace lfm::gpu
