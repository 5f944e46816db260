// Q4_K and Q5_K: 256 weights: f16 d and dmin, eight six-bit scales and minima in twelve bytes, [Q5_K: qh[32],] qs[128];
// value d · scale · q - dmin · min. A group of 64 columns has 32 bytes: low nibbles are its first block of 32, high
// ones its second; the fifth bit of column l of block b is bit b of qh[l]. q is unsigned as it is. A pair of products
// is at most 2 · 31 · 127 = 7874: four fit 16 bits, of four-bit q even eight. The multiplication that widens them is by
// the scale; one more such multiplication is of the minima by Σ x.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"

namespace lfm::cpu::avx2 {
namespace {

/// Of eight rows: scales and minima of four blocks in the bytes of a lane.
struct Header {
    __m256 d, minus_dmin;
    __m256i scales[2], mins[2];

    __m256i scale(std::uint32_t block) const { return twice_byte(scales[block / 4], block % 4); }
    __m256i min(std::uint32_t block) const { return twice_byte(mins[block / 4], block % 4); }

private:
    /// Byte 0..3 of every lane as two equal 16-bit numbers.
    static __m256i twice_byte(__m256i words, std::uint32_t byte) {
        return shuffle_lanes(words, 0x80'00'80'00 | byte << 16 | byte);
    }
};

/// The header is 16 bytes, so four words per row are transposed: d and dmin, then b[0..3], b[4..7], b[8..11].
inline Header load_header(const Rows& rows, std::size_t at) {
    __m256i pairs[4], words[4];
#pragma GCC unroll 4
    for (std::uint32_t pair = 0; pair < 4; ++pair) pairs[pair] = row_pair(rows, pair, at);
    transpose(pairs, words);

    Header header;
    const __m256i low = _mm256_and_si256(words[0], _mm256_set1_epi32(0xffff)), high = _mm256_srli_epi32(words[0], 16);
    const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    header.d = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    header.minus_dmin = _mm256_xor_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)), _mm256_set1_ps(-0.0f));

    const __m256i six = _mm256_set1_epi8(0x3f), four = _mm256_set1_epi8(0x0f), two = _mm256_set1_epi8(0x30);
    const auto top_bits = [two](__m256i word) { return _mm256_and_si256(_mm256_srli_epi32(word, 2), two); };
    header.scales[0] = _mm256_and_si256(words[1], six);
    header.mins[0] = _mm256_and_si256(words[2], six);
    header.scales[1] = _mm256_or_si256(_mm256_and_si256(words[3], four), top_bits(words[1]));
    header.mins[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(words[3], 4), four), top_bits(words[2]));
    return header;
}

/// acc + x scale · (d · sum - dmin · min_sum), min_sum = min · Σ x
inline __m256 add_block(__m256 acc, __m256 x_scale, __m256 d, __m256i sum, __m256 minus_dmin, __m256i min_sum) {
    const __m256 offset = _mm256_mul_ps(minus_dmin, _mm256_cvtepi32_ps(min_sum));
    return _mm256_fmadd_ps(x_scale, _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(sum), offset), acc);
}

template <int kBits>
struct Kx {
    static constexpr std::uint32_t kLanes = 8, kGroups = 1;
    static constexpr std::size_t kColumns = 256, kFifthBits = 16, kNibbles = kBits == 5 ? 48 : 16;
    static constexpr std::size_t kBlockBytes = kNibbles + 128;

    struct Panel {
        alignas(32) std::uint8_t w[kPanelBlocks][8][32];  // [block][quad of columns][row][column]
        __m256i scale[kPanelBlocks], min[kPanelBlocks];
        __m256 d, minus_dmin;
    };

    /// q of 16 columns from `column` (0 or 16) on in both blocks of a group of 64.
    static void load_levels(const Rows& rows, std::uint32_t pair, std::size_t at, std::uint32_t group,
                            std::uint32_t column, __m256i (&block)[2]) {
        const __m256i nibble = _mm256_set1_epi8(15);
        const __m256i q = row_pair(rows, pair, at + kNibbles + 32 * group + column);
        block[0] = _mm256_and_si256(q, nibble);
        block[1] = _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble);
        if constexpr (kBits == 5) {
            const __m256i bit = _mm256_set1_epi8(16), fifth = row_pair(rows, pair, at + kFifthBits + column);
            const int b = static_cast<int>(2 * group);
            const __m256i low = b < 4 ? _mm256_slli_epi16(fifth, 4 - b) : _mm256_srli_epi16(fifth, b - 4);
            const __m256i high = b < 3 ? _mm256_slli_epi16(fifth, 3 - b) : _mm256_srli_epi16(fifth, b - 3);
            block[0] = _mm256_or_si256(block[0], _mm256_and_si256(low, bit));
            block[1] = _mm256_or_si256(block[1], _mm256_and_si256(high, bit));
        }
    }

    static void dot(const Rows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        __m256 acc = _mm256_setzero_ps();
        for (std::size_t column = 0, at = 0; column < n_in; column += kColumns, at += kBlockBytes) {
            const Header header = load_header(rows, at);
#pragma GCC unroll 4
            for (std::uint32_t group = 0; group < 4; ++group) {
                const ActivationBlock* pair_of_blocks = x + column / ActivationBlock::kSize + 2 * group;
                __m256i sums[2][4];  // [block][row pair]
#pragma GCC unroll 4
                for (std::uint32_t pair = 0; pair < 4; ++pair) {
                    rows.prefetch_next_group(at + group * (kBlockBytes / 4), kBlockBytes / 4, pair, 4);
                    __m256i left[2], right[2];
                    load_levels(rows, pair, at, group, 0, left);
                    load_levels(rows, pair, at, group, 16, right);
#pragma GCC unroll 2
                    for (std::uint32_t b = 0; b < 2; ++b) {
                        sums[b][pair] =
                            _mm256_add_epi16(_mm256_maddubs_epi16(left[b], twice16(pair_of_blocks[b].q)),
                                             _mm256_maddubs_epi16(right[b], twice16(pair_of_blocks[b].q + 16)));
                    }
                }
#pragma GCC unroll 2
                for (std::uint32_t b = 0; b < 2; ++b) {
                    const std::uint32_t block = 2 * group + b;
                    const std::size_t x_block = column / ActivationBlock::kSize + block;
                    const __m256i min_sum = _mm256_madd_epi16(header.min(block), every_u32(x[x_block].sum));
                    acc = add_block(acc, _mm256_set1_ps(x[x_block].scale), header.d,
                                    scale_units(sums[b], header.scale(block)), header.minus_dmin, min_sum);
                }
            }
        }
        _mm256_store_ps(y, acc);
    }

    static __m256i scale_units(const __m256i (&pairs)[4], __m256i scale) {
        __m256i first, second;
        add_units(pairs, first, second);
        if constexpr (kBits == 4) return _mm256_madd_epi16(_mm256_add_epi16(first, second), scale);
        return _mm256_add_epi32(_mm256_madd_epi16(first, scale), _mm256_madd_epi16(second, scale));
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        const Header header = load_header(rows, at);
        panel.d = header.d;
        panel.minus_dmin = header.minus_dmin;
#pragma GCC unroll 8
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) {
            panel.scale[b] = header.scale(b);
            panel.min[b] = header.min(b);
        }
#pragma GCC unroll 4
        for (std::uint32_t group = 0; group < 4; ++group) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                __m256i first[4], second[4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t pair = 0; pair < 4; ++pair) {
                    __m256i levels[2];
                    load_levels(rows, pair, at, group, 16 * part, levels);
                    first[pair] = levels[0];
                    second[pair] = levels[1];
                }
                transpose(first, quads);
                store_quads(panel.w[2 * group] + 4 * part, quads);
                transpose(second, quads);
                store_quads(panel.w[2 * group + 1] + 4 * part, quads);
            }
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const Panel& panel = panels[0];
        const __m256i scale = panel.scale[block], min = panel.min[block];
        __m256i w[8];
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; ++quad) w[quad] = load32(panel.w[block][quad]);
        const auto products = [&w](const ActivationBlock& from, int quad) {
            return _mm256_maddubs_epi16(w[quad], every_u32(from.q + 4 * quad));
        };
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            float* acc = sums[0][t];
            __m256i half[2] = {products(x, 0), products(x, 4)};
#pragma GCC unroll 3
            for (int quad = 1; quad < 4; ++quad) {
                add_in_order16(half[0], products(x, quad));
                add_in_order16(half[1], products(x, quad + 4));
            }
            const __m256i sum =
                kBits == 4 ? _mm256_madd_epi16(_mm256_add_epi16(half[0], half[1]), scale)
                           : _mm256_add_epi32(_mm256_madd_epi16(half[0], scale), _mm256_madd_epi16(half[1], scale));
            const __m256i min_sum = _mm256_madd_epi16(min, every_u32(x.sum));
            _mm256_store_ps(
                acc, add_block(_mm256_load_ps(acc), _mm256_set1_ps(x.scale), panel.d, sum, panel.minus_dmin, min_sum));
        });
    }
};

}  // namespace

void matmul_q4_k(const MatmulTile& tile) { LaneMatmul<Kx<4>>::run(tile); }
void matmul_q5_k(const MatmulTile& tile) { LaneMatmul<Kx<5>>::run(tile); }

}  // namespace lfm::cpu::avx2
