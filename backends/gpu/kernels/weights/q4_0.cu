// 18 bytes: scale, 16 bytes of two levels of 0 … 15.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q4_0 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    struct Raw {
        LoadedWords<5> words;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        return {load_words<5>(word_before(row + 18 * item))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t to_body = is_odd_half(row + 18 * item) ? 32 : 16;
        const float scale = half_of(raw.words.at[0] >> (to_body - 16) & 0xffff);
        const Words4 qs = sixteen<0>(raw.words, to_body);
        return item_of(subtract_from_each(low_nibbles(qs), 8), subtract_from_each(high_nibbles(qs), 8), scale, 0);
    }
};

MatmulKernels q4_0_kernels() { return kernels_of<Q4_0>(); }

}  // namespace lfm::gpu
