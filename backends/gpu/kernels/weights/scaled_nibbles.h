// Blocks of 18 bytes: scale, 16 bytes of two indices of levels each.
#pragma once

#include "backends/gpu/kernels/items.h"

namespace lfm::gpu {

/// `Levels::of` makes four signed levels of four indices 0 … 15.
template <class Levels>
struct ScaledNibbles {
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
    static __device__ Item unpack(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::uint32_t to_body = is_odd_half(row + 18 * item) ? 32 : 16;
        const float scale = half_of(raw.words.at[0] >> (to_body - 16) & 0xffff);
        const Words4 qs = sixteen<0>(raw.words, to_body);
        return item_of(Levels::of(low_nibbles(qs)), Levels::of(high_nibbles(qs)), scale, 0);
    }
};

}  // namespace lfm::gpu
