// 18 bytes: scale, 16 bytes of two indices of the table of levels.
#include "backends/gpu/kernels/items.h"
#include "backends/gpu/kernels/weight_kernels.h"

namespace lfm::gpu {

struct IQ4_NL {
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
        return item_of(look_up(iq4_table(), low_nibbles(qs)), look_up(iq4_table(), high_nibbles(qs)), scale, 0);
    }
};

MatmulKernels iq4_nl_kernels() { return kernels_of<IQ4_NL>(); }

}  // namespace lfm::gpu
