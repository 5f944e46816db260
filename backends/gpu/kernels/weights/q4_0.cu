// 18 bytes: scale, 16 bytes of two levels each, 0 … 15, that stand for -8 … 7.
#include "backends/gpu/kernels/weight_kernels.h"
#include "backends/gpu/kernels/weights/scaled_nibbles.h"

namespace lfm::gpu {

struct Q4_0 : ScaledNibbles {
    // In the upper halves of bytes, with the sign bit flipped, levels are sixteen times what they stand for.
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Block block = block_of(raw, row, item);
        const auto upper = [](std::uint32_t word) { return (word & 0xf0f0f0f0u) ^ 0x80808080u; };
        return item_of(each(block.qs, [&](std::uint32_t word) { return upper(word << 4); }), each(block.qs, upper),
                       block.scale * (1.0f / 16), 0);
    }

    static constexpr Stored kLow{1, 8}, kHigh{kUpperTimes, 8};
    static __device__ Item unpack_stored(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Block block = block_of(raw, row, item);
        return item_of(low_nibbles(block.qs), upper_nibbles(block.qs), block.scale, 0);
    }
};

MatmulKernels q4_0_kernels() { return kernels_of<Q4_0>(); }

}  // namespace lfm::gpu
