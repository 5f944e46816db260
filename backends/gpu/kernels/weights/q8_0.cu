// 34 bytes: scale, 32 levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q8_0 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    static __device__ Item load(const std::byte* row, std::uint32_t item) {
        const std::byte* block = row + 34 * item;
        const auto words = load_words<9>(word_before(block));
        const bool odd = is_odd_half(block);
        const float scale = half_of(words.at[0] >> (odd ? 16 : 0) & 0xffff);
        return item_of(sixteen_after_half<0>(words, odd), sixteen_after_half<4>(words, odd), scale, 0);
    }
};

MatmulKernels q8_0_kernels() { return kernels_of<Q8_0>(); }

}  // namespace lfm::gpu
