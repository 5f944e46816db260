// 18 bytes: scale, 16 bytes of two indices of the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct IQ4_NL {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 18 * item;
        const auto words = load_words<5>(word_before(block));
        const bool odd = is_odd_half(block);
        const Words4 qs = sixteen_after_half<0>(words, odd);
        const float scale = half_of(words.at[0] >> (odd ? 16 : 0) & 0xffff);
        return item_of(look_up(iq4_table(), low_nibbles(qs)), look_up(iq4_table(), high_nibbles(qs)), scale, 0);
    }
};

MatmulKernels iq4_nl_kernels() { return kernels_of<IQ4_NL>(); }

}  // namespace lfm::gpu
