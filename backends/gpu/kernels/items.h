// Blocks of the file to small integers. The unit is an item: 32 weights as two runs of 16 neighbours, so that every
// stored word belongs to one item, or to two that lie side by side. backends/cpu/kernels/unpack.h is the plain form.
//
// Weights lie as in the file, at multiples of the largest power of two, up to 16 bytes, that divides their block
// (backends/device/weight_check.h); loads are as wide as that allows. Where it is less than a word, words are loaded
// whole and shifted: up to 3 bytes before and behind a block may be read, and are not used.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/gpu/platform/arithmetic.h"
#include "backends/gpu/platform/loads.h"

namespace lfm::gpu {

/// Sixteen weights: four signed levels a word; w[i] = scale · level[i] - min.
struct Run {
    Words4 level;
    float scale;
    float min;
};

struct Item {
    Run low, high;
};

// A quantised weight type loads an item and unpacks it in two functions, so that several loads are under way at once:
//     struct Raw; static Raw load(row, item); static Item unpack(raw, row, item);
// It says how its items lie (RunOrder kOrder), whether a block of 32 columns has one scale and minimum or two (bool
// kOneScale), and whether there are minima (bool kHasMin). Where levels of another form take fewer instructions, the
// kernels of one row of x use that form:
//     static constexpr Stored kLow, kHigh; static Item unpack_stored(raw, row, item);

/// A run's levels are given as times · (level + raise), unsigned bytes. The raise is subtracted from the product,
/// exactly, by means of the sum of the 16 activations.
struct Stored {
    std::int32_t times, raise;
};

template <class Weight>
inline constexpr bool kHasStored = requires {
    Weight::kLow;
};

template <class Weight>
__device__ inline Item load_item(const std::byte* row, std::uint32_t item) {
    return Weight::unpack(Weight::load(row, item), row, item);
}

/// How items lie in a row: which runs of 16 weights belong to an item.
enum class RunOrder : std::uint8_t {
    kPlain,      // 0, 1 to item 0; 2, 3 to item 1
    kTwoApart,   // 0, 2 to item 0; 1, 3 to item 1
    kFourApart,  // 0, 4 to item 0; 1, 5 to item 1; 2, 6 to item 2; 3, 7 to item 3
};

struct RunPlaces {
    std::uint32_t low, high;
};
template <RunOrder kOrder>
__device__ inline RunPlaces runs_of(std::uint32_t item) {
    if constexpr (kOrder == RunOrder::kPlain) return {2 * item, 2 * item + 1};
    const std::uint32_t low =
        kOrder == RunOrder::kTwoApart ? 4 * (item / 2) + item % 2 : 8 * (item / 4) + 2 * (item / 2 % 2) + item % 2;
    return {low, low + (kOrder == RunOrder::kTwoApart ? 2u : 4u)};
}

/// The multiple of 4 at or before an address, and how many bits lie between.
__device__ inline const std::byte* word_before(const std::byte* address) {
    return reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(address) & ~std::uintptr_t{3});
}
__device__ inline std::uint32_t bits_after_word(const std::byte* address) {
    return 8 * (static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address)) & 3);
}

/// n words that begin at a multiple of 4.
template <std::uint32_t n>
struct LoadedWords {
    std::uint32_t at[n];
};
template <std::uint32_t n>
__device__ inline LoadedWords<n> load_words(const std::byte* from) {
    LoadedWords<n> words;
#pragma unroll
    for (std::uint32_t i = 0; i < n; ++i) words.at[i] = load_word(from, i);
    return words;
}

/// Sixteen bytes of loaded words, from bit `shift` of word `first` on; `shift` up to 32.
template <std::uint32_t first, std::uint32_t n>
__device__ inline Words4 sixteen(const LoadedWords<n>& words, std::uint32_t shift) {
    static_assert(first + 5 <= n);
    Words4 result;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) result.at[i] = funnel(words.at[first + i], words.at[first + i + 1], shift);
    return result;
}
/// Sixteen bytes from a multiple of 8.
__device__ inline Words4 load_16_pairs(const std::byte* from) {
    const Words2 first = load<Words2>(from), second = load<Words2>(from + 8);
    return {{first.at[0], first.at[1], second.at[0], second.at[1]}};
}
/// Sixteen bytes from a multiple of 4.
__device__ inline Words4 load_16_words(const std::byte* from) {
    Words4 result;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) result.at[i] = load_word(from, i);
    return result;
}
__device__ inline float half_of(std::uint32_t bits) { return float_of_half(static_cast<std::uint16_t>(bits)); }
__device__ inline std::int32_t signed_byte(std::uint32_t bits) { return static_cast<std::int8_t>(bits & 0xff); }

/// f of each word.
template <typename Function>
__device__ inline Words4 each(const Words4& words, const Function& function) {
    Words4 result;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) result.at[i] = function(words.at[i]);
    return result;
}
template <typename Function>
__device__ inline Words4 each(const Words4& a, const Words4& b, const Function& function) {
    Words4 result;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) result.at[i] = function(a.at[i], b.at[i]);
    return result;
}

/// Subtracts `offset`, below 128, from each byte, below 128.
__device__ inline std::uint32_t subtract_from_each(std::uint32_t bytes, std::uint32_t offset) {
    return ((bytes | 0x80808080u) - offset * 0x01010101u) ^ 0x80808080u;
}
__device__ inline Words4 subtract_from_each(const Words4& bytes, std::uint32_t offset) {
    return each(bytes, [offset](std::uint32_t word) { return subtract_from_each(word, offset); });
}
__device__ inline Words4 low_nibbles(const Words4& bytes) {
    return each(bytes, [](std::uint32_t word) { return word & 0x0f0f0f0fu; });
}
__device__ inline Words4 high_nibbles(const Words4& bytes) {
    return each(bytes, [](std::uint32_t word) { return word >> 4 & 0x0f0f0f0fu; });
}
/// The high nibbles times kUpperTimes.
__device__ inline Words4 upper_nibbles(const Words4& bytes) {
    return each(bytes,
                [](std::uint32_t word) { return kUpperTimes == 16 ? word & 0xf0f0f0f0u : word >> 4 & 0x0f0f0f0fu; });
}

/// Sixteen nibbles with a fifth bit each: bit i of `bits` belongs to nibble i.
__device__ inline Words4 add_fifth_bits(const Words4& nibbles, std::uint32_t bits) {
    Words4 result;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        // Bits 0, 1, 2, 3 to 4, 12, 20, 28: the product adds four copies that do not overlap.
        const std::uint32_t copies = (bits >> 4 * i & 15) * 0x02040810u;
        result.at[i] = nibbles.at[i] | (copies & 0x10101010u);
    }
    return result;
}

/// Sixteen signed bytes to look up.
struct LevelTable {
    std::uint32_t at[4];
};
/// The table's byte for each byte of `indices`, below 16.
__device__ inline std::uint32_t look_up(const LevelTable& table, std::uint32_t indices) {
    const std::uint32_t within = indices & 0x07070707u;
    const std::uint32_t lower = select_bytes(table.at[0], table.at[1], within);
    const std::uint32_t upper = select_bytes(table.at[2], table.at[3], within);
    const std::uint32_t is_upper = (indices >> 3 & 0x01010101u) * 0xff;
    return (lower & ~is_upper) | (upper & is_upper);
}
__device__ inline Words4 look_up(const LevelTable& table, const Words4& indices) {
    return each(indices, [&table](std::uint32_t word) { return look_up(table, word); });
}
/// kIQ4Levels and kMXFP4Levels of memory/blocks.h.
__device__ inline LevelTable iq4_table() { return {{0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u}}; }
__device__ inline LevelTable mxfp4_table() { return {{0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu}}; }

/// Scales and minima of groups k and k + 1 of 32 weights, k even, from a block's first four words: the block's scale
/// and minimum, then eight of each in 6 bits.
struct SixBitScales {
    float scale[2], min[2];
};
__device__ inline SixBitScales six_bit_scales(const Words4& head, std::uint32_t k) {
    const std::uint32_t shift = 8 * (k % 4);
    const std::uint32_t a = head.at[1] >> shift, b = head.at[2] >> shift, c = head.at[3] >> shift;
    const std::uint32_t scales = k < 4 ? a & 0x3f3f : (c & 0x0f0f) | (a >> 2 & 0x3030);
    const std::uint32_t mins = k < 4 ? b & 0x3f3f : (c >> 4 & 0x0f0f) | (b >> 2 & 0x3030);
    const float d = half_of(head.at[0] & 0xffff), dmin = half_of(head.at[0] >> 16);
    return {{d * static_cast<float>(scales & 0xff), d * static_cast<float>(scales >> 8)},
            {dmin * static_cast<float>(mins & 0xff), dmin * static_cast<float>(mins >> 8)}};
}

__device__ inline Item item_of(const Words4& low, const Words4& high, float scale, float min) {
    return {{low, scale, min}, {high, scale, min}};
}

}  // namespace lfm::gpu
