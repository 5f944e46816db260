// 17 bytes: exponent, 16 bytes of two indices of the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct MXFP4 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 17 * item;
        const auto words = load_words<5>(word_before(block));
        const std::uint32_t shift = bits_after_word(block);
        const std::uint32_t e = words.at[0] >> shift & 0xff;
        Words4 qs;
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i)
            qs.at[i] = shift == 24 ? words.at[i + 1] : funnel(words.at[i], words.at[i + 1], shift + 8);
        // half of 2^(e - 127), for the levels are doubled; the first two are subnormal
        const float scale = float_of_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        return item_of(look_up(mxfp4_table(), low_nibbles(qs)), look_up(mxfp4_table(), high_nibbles(qs)), scale, 0);
    }
};

MatmulKernels mxfp4_kernels() { return kernels_of<MXFP4>(); }

}  // namespace lfm::gpu
