// 18 bytes: scale, 16 bytes of two indices each into the table of levels.
#include "backends/gpu/kernels/weight_kernels.h"
#include "backends/gpu/kernels/weights/scaled_nibbles.h"

namespace lfm::gpu {

struct IQ4_NL : ScaledNibbles {
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const Block block = block_of(raw, row, item);
        return item_of(look_up(iq4_table(), low_nibbles(block.qs)), look_up(iq4_table(), high_nibbles(block.qs)),
                       block.scale, 0);
    }
};

MatmulKernels iq4_nl_kernels() { return kernels_of<IQ4_NL>(); }

}  // namespace lfm::gpu
