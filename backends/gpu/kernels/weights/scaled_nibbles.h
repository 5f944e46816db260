// Blocks of 18 bytes: scale, 16 bytes of two levels, or indices of levels, each.
#pragma once

#include "backends/gpu/kernels/items.h"

namespace lfm::gpu {

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

    struct Block {
        Words4 qs;
        float scale;
    };
    static __device__ Block block_of(const Raw& raw, const std::byte* row, std::uint32_t item) {
        const std::uint32_t to_block = bits_after_word(row + 18 * item);
        return {sixteen<0>(raw.words, to_block + 16), half_of(raw.words.at[0] >> to_block & 0xffff)};
    }
};

}  // namespace lfm::gpu
