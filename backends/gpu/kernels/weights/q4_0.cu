// 18 bytes: scale, 16 bytes of two levels of 0 … 15 that stand for -8 … 7.
#include "backends/gpu/kernels/weight_kernels.h"
#include "backends/gpu/kernels/weights/scaled_nibbles.h"

namespace lfm::gpu {

struct Q4_0 : ScaledNibbles {
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Block block = block_of(raw, row, item);
        return item_of(subtract_from_each(low_nibbles(block.qs), 8), subtract_from_each(high_nibbles(block.qs), 8),
                       block.scale, 0);
    }

    static constexpr Stored kLow{1, 8}, kHigh{kUpperTimes, 8};
    static __device__ Item unpack_stored(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Block block = block_of(raw, row, item);
        return item_of(low_nibbles(block.qs), upper_nibbles(block.qs), block.scale, 0);
    }
};

MatmulKernels q4_0_kernels() { return kernels_of<Q4_0>(); }

}  // namespace lfm::gpu
