// 17 bytes: exponent, 16 bytes of two indices each into the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct MXFP4 {
    static constexpr bool kIsFloat = false;
    static constexpr RunOrder kOrder = RunOrder::kPlain;
    static constexpr bool kOneScale = true;
    static constexpr bool kHasMin = false;
    static constexpr bool kAnyScale = true;  // a power of two, up to 2^127

    struct Raw {
        LoadedWords<5> words;
    };
    static __device__ Raw load(const std::byte* row, std::uint32_t item) {
        return {load_words<5>(word_before(row + 17 * item))};
    }
    static __device__ Item unpack(const Raw& raw, [[maybe_unused]] const std::byte* row,
                                  [[maybe_unused]] std::uint32_t item) {
        const std::uint32_t to_block = bits_after_word(row + 17 * item);
        const std::uint32_t e = raw.words.at[0] >> to_block & 0xff;
        // half of 2^(e - 127), for the levels are doubled; the first two are subnormal
        const float scale = float_of_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        const Words4 qs = sixteen<0>(raw.words, to_block + 8);
        return item_of(look_up(mxfp4_table(), low_nibbles(qs)), look_up(mxfp4_table(), high_nibbles(qs)), scale, 0);
    }
};

MatmulKernels mxfp4_kernels() { return kernels_of<MXFP4>(); }

}  // namespace lfm::gpu
