// Q6_K: 256 weights: ql[128], qh[64], sixteen int8 scales, f16 d; value d · scale · (q - 32), a scale per 16 columns.
// Per half of 128 columns, four groups g of 32, l = 0..31: the low four bits of q are a nibble of ql[l + 32(g % 2)],
// the lower one for g < 2; the high two are bits 2g and 2g + 1 of qh[l]. q stays unsigned: a pair of products is at
// most 2 · 63 · 127 = 16002, so two pairs fit 16 bits. The multiplication that widens them is by the scale; one more
// such multiplication gives -32 · scale · Σ x.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"

namespace lfm::cpu::avx2 {
namespace {

constexpr std::size_t kHighBits = 128, kScales = 192, kD = 208;

/// Of a block of 32 columns, by row, as pairs of 16 bits.
struct Scales {
    __m256i first, second;  // of columns 0..15 and of 16..31, each twice
    __m256i offset;         // -32 times both
};

/// `word` has the scales of four neighbouring groups of 16 columns in each lane.
inline Scales block_scales(__m256i word, std::uint32_t block) {
    if (block % 2 == 1) word = _mm256_srli_epi32(word, 16);
    const auto widen = [word](std::uint32_t bytes) { return _mm256_srai_epi16(shuffle_lanes(word, bytes), 8); };
    return {widen(0x00'80'00'80), widen(0x01'80'01'80),
            _mm256_mullo_epi16(widen(0x01'80'00'80), _mm256_set1_epi16(-32))};
}

inline void load_scales(const Rows& rows, std::size_t at, __m256i (&words)[4]) {
    __m256i pairs[4];
#pragma GCC unroll 4
    for (std::uint32_t pair = 0; pair < 4; ++pair) pairs[pair] = row_pair(rows, pair, at + kScales);
    transpose(pairs, words);
}

/// q of 16 columns from `column` (0 or 16) on in each of the four groups of a half.
inline void load_levels(const Rows& rows, std::uint32_t pair, std::size_t at, std::uint32_t half, std::uint32_t column,
                        __m256i (&group)[4]) {
    const __m256i nibble = _mm256_set1_epi8(15), high_bits = _mm256_set1_epi8(0x30);
    const __m256i even = row_pair(rows, pair, at + 64 * half + column);
    const __m256i odd = row_pair(rows, pair, at + 64 * half + column + 32);
    const __m256i high = row_pair(rows, pair, at + kHighBits + 32 * half + column);
    const auto join = [&](__m256i low, __m256i top) {
        return _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(top, high_bits));
    };
    group[0] = join(even, _mm256_slli_epi16(high, 4));
    group[1] = join(odd, _mm256_slli_epi16(high, 2));
    group[2] = join(_mm256_srli_epi16(even, 4), high);
    group[3] = join(_mm256_srli_epi16(odd, 4), _mm256_srli_epi16(high, 2));
}

struct Q6_K {
    static constexpr std::uint32_t kLanes = 8, kGroups = 1;
    static constexpr std::size_t kColumns = 256, kBlockBytes = 210;

    struct Panel {
        alignas(32) std::uint8_t w[kPanelBlocks][8][32];  // [block][quad of columns][row][column]
        Scales scales[kPanelBlocks];
        __m256 d;
    };

    static void dot(const Rows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        __m256 acc = _mm256_setzero_ps();
        for (std::size_t column = 0, at = 0; column < n_in; column += kColumns, at += kBlockBytes) {
            const __m256 d = row_halves(rows, at + kD);
            __m256i words[4];
            load_scales(rows, at, words);
            __m256 panel_sum = _mm256_setzero_ps();
            for (std::uint32_t half = 0; half < 2; ++half) {
                __m256i sums[2][4][4];  // [columns of 16][group][row pair]
#pragma GCC unroll 2
                for (std::uint32_t part = 0; part < 2; ++part) {
#pragma GCC unroll 4
                    for (std::uint32_t pair = 0; pair < 4; ++pair) {
                        rows.prefetch_next_group(at + half * (kBlockBytes / 2), kBlockBytes / 2, 4 * part + pair, 8);
                        __m256i levels[4];
                        load_levels(rows, pair, at, half, 16 * part, levels);
#pragma GCC unroll 4
                        for (std::uint32_t group = 0; group < 4; ++group) {
                            const __m256i x_part =
                                twice16(x[column / ActivationBlock::kSize + 4 * half + group].q + 16 * part);
                            sums[part][group][pair] = _mm256_maddubs_epi16(levels[group], x_part);
                        }
                    }
                }
#pragma GCC unroll 4
                for (std::uint32_t group = 0; group < 4; ++group) {
                    const std::size_t b = column / ActivationBlock::kSize + 4 * half + group;
                    const Scales scales = block_scales(words[2 * half + group / 2], group);
                    __m256i sum = _mm256_madd_epi16(scales.offset, every_u32(x[b].sum));
                    sum = _mm256_add_epi32(sum, scale_units(sums[0][group], scales.first));
                    sum = _mm256_add_epi32(sum, scale_units(sums[1][group], scales.second));
                    panel_sum = _mm256_fmadd_ps(_mm256_set1_ps(x[b].scale), _mm256_cvtepi32_ps(sum), panel_sum);
                }
            }
            acc = _mm256_fmadd_ps(d, panel_sum, acc);
        }
        _mm256_store_ps(y, acc);
    }

    static __m256i scale_units(const __m256i (&pairs)[4], __m256i scale) {
        __m256i first, second;
        add_units(pairs, first, second);
        return _mm256_add_epi32(_mm256_madd_epi16(first, scale), _mm256_madd_epi16(second, scale));
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        panel.d = row_halves(rows, at + kD);
        __m256i words[4];
        load_scales(rows, at, words);
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) panel.scales[b] = block_scales(words[b / 2], b);
        for (std::uint32_t half = 0; half < 2; ++half) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                __m256i levels[4][4], pairs[4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t pair = 0; pair < 4; ++pair) {
                    load_levels(rows, pair, at, half, 16 * part, levels[pair]);
                }
#pragma GCC unroll 4
                for (std::uint32_t group = 0; group < 4; ++group) {
#pragma GCC unroll 4
                    for (std::uint32_t pair = 0; pair < 4; ++pair) pairs[pair] = levels[pair][group];
                    transpose(pairs, quads);
                    store_quads(panel.w[4 * half + group] + 4 * part, quads);
                }
            }
        }
    }

    template <BlockPlace kPlace>
    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* panel_sums, TileSums<kLanes>* sums) {
        const Panel& panel = panels[0];
        const Scales scales = panel.scales[block];
        __m256i w[8];
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; ++quad) w[quad] = load32(panel.w[block][quad]);
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            float *of_panel = panel_sums[0][t], *of_tile = sums[0][t];
            __m256i products = _mm256_madd_epi16(scales.offset, every_u32(x.sum));
#pragma GCC unroll 4
            for (int quad = 0; quad < 8; quad += 2) {
                const __m256i pairs =
                    _mm256_add_epi16(_mm256_maddubs_epi16(w[quad], every_u32(x.q + 4 * quad)),
                                     _mm256_maddubs_epi16(w[quad + 1], every_u32(x.q + 4 * quad + 4)));
                add_in_order32(products, _mm256_madd_epi16(pairs, quad < 4 ? scales.first : scales.second));
            }
            const __m256 sum = _mm256_cvtepi32_ps(products), x_scale = _mm256_set1_ps(x.scale);
            const __m256 before = kPlace == BlockPlace::kFirst ? _mm256_setzero_ps() : _mm256_load_ps(of_panel);
            const __m256 after = _mm256_fmadd_ps(x_scale, sum, before);
            if constexpr (kPlace == BlockPlace::kLast)
                _mm256_store_ps(of_tile, _mm256_fmadd_ps(panel.d, after, _mm256_load_ps(of_tile)));
            else
                _mm256_store_ps(of_panel, after);
        });
    }
};

}  // namespace

void matmul_q6_k(const MatmulTile& tile) { LaneMatmul<Q6_K>::run(tile); }

}  // namespace lfm::cpu::avx2
