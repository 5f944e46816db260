// 34 bytes: scale, 32 levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct Q8_0 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;

    struct Raw {
        LoadedWords<9> words;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        return {load_words<9>(word_before(row + 34 * item))};
    }
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::uint32_t to_block = bits_after_word(row + 34 * item), to_body = to_block + 16;
        const float scale = half_of(raw.words.at[0] >> to_block & 0xffff);
        return item_of(sixteen<0>(raw.words, to_body), sixteen<4>(raw.words, to_body), scale, 0);
    }
};

MatmulKernels q8_0_kernels() { return kernels_of<Q8_0>(); }

}  // namespace lfm::gpu
