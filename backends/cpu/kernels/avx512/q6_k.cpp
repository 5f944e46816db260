// Q6_K, as described in avx2/q6_k.cpp: value d · scale · (q - 32), a scale per 16 columns. Sums of 16 products start
// from -32 · Σ x; they and their products with the scales stay below 2^24, where f32 holds every integer: all exact.
#include "backends/cpu/kernels/avx512/eight_rows.h"
#include "backends/cpu/kernels/avx512/kernels.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

struct Q6_K {
    static constexpr std::uint32_t kLanes = 16, kGroups = 2;
    static constexpr std::size_t kColumns = 256, kBlockBytes = 210, kHighBits = 128, kScales = 192, kD = 208;

    /// The scales of the columns 0..15 and 16..31 of a block, by row.
    struct Scales {
        __m512 first, second;
    };

    struct Panel {
        alignas(64) std::uint8_t w[kPanelBlocks][8][64];  // [block][quad of columns][row][column]
        Scales scales[kPanelBlocks];
        __m512 d;
    };

    template <std::uint32_t kRows>
    static void load_scales(const RowGroup<kRows>& rows, std::size_t at, __m512i (&words)[4]) {
        __m512i parts[4];
#pragma GCC unroll 4
        for (std::uint32_t first = 0; first < 4; ++first) parts[first] = header_rows(rows, first, at + kScales);
        transpose(parts, words);
    }

    /// `word` has the scales of four neighbouring groups of 16 columns in each lane.
    static Scales block_scales(__m512i word, std::uint32_t block) {
        const bool upper = block % 2 == 1;
        const __m512i first = _mm512_slli_epi32(word, upper ? 8 : 24);
        const __m512i second = upper ? word : _mm512_slli_epi32(word, 16);
        return {to_float(top_byte_signed(first)), to_float(top_byte_signed(second))};
    }

    /// q of 16 columns from `column` (0 or 16) on in each of the four groups of a half.
    static void load_levels(const Rows& rows, std::uint32_t first, std::size_t at, std::uint32_t half,
                            std::uint32_t column, __m512i (&group)[4]) {
        join_bits(four_rows(rows, first, at + 64 * half + column), four_rows(rows, first, at + 64 * half + column + 32),
                  four_rows(rows, first, at + kHighBits + 32 * half + column), group);
    }
    static void join_bits(__m512i even, __m512i odd, __m512i high, __m512i (&group)[4]) {
        const __m512i nibble = _mm512_set1_epi8(15), high_bits = _mm512_set1_epi8(0x30);
        const auto join = [&](__m512i low, __m512i top) {
            return _mm512_or_si512(_mm512_and_si512(low, nibble), _mm512_and_si512(top, high_bits));
        };
        group[0] = join(even, _mm512_slli_epi16(high, 4));
        group[1] = join(odd, _mm512_slli_epi16(high, 2));
        group[2] = join(_mm512_srli_epi16(even, 4), high);
        group[3] = join(_mm512_srli_epi16(odd, 4), _mm512_srli_epi16(high, 2));
    }

    static __m512 scale_sums(__m512i first, __m512i second, const Scales& scales) {
        return _mm512_fmadd_ps(to_float(second), scales.second, _mm512_mul_ps(to_float(first), scales.first));
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        panel.d = row_halves(rows, at + kD);
        __m512i words[4];
        load_scales(rows, at, words);
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) panel.scales[b] = block_scales(words[b / 2], b);
        for (std::uint32_t half = 0; half < 2; ++half) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                __m512i levels[4][4], parts[4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t first = 0; first < 4; ++first) {
                    load_levels(rows, first, at, half, 16 * part, levels[first]);
                }
#pragma GCC unroll 4
                for (std::uint32_t group = 0; group < 4; ++group) {
#pragma GCC unroll 4
                    for (std::uint32_t first = 0; first < 4; ++first) parts[first] = levels[first][group];
                    transpose(parts, quads);
                    store_quads(panel.w[4 * half + group] + 4 * part, quads);
                }
            }
        }
    }

    template <BlockPlace kPlace>
    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* panel_sums, TileSums<kLanes>* sums) {
        const Quads a(panels[0].w[block]), b(panels[1].w[block]);
        const Scales scales[kGroups] = {panels[0].scales[block], panels[1].scales[block]};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const TwoSums products(a, b, x.q, _mm512_set1_epi32(-32 * x.sum[0]), _mm512_set1_epi32(-32 * x.sum[1]));
            const __m512 x_scale = _mm512_set1_ps(x.scale);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                float *of_panel = panel_sums[group][t], *of_tile = sums[group][t];
                const __m512 sum = scale_sums(products.first[group], products.second[group], scales[group]);
                const __m512 before = kPlace == BlockPlace::kFirst ? _mm512_setzero_ps() : _mm512_loadu_ps(of_panel);
                const __m512 after = _mm512_fmadd_ps(x_scale, sum, before);
                if constexpr (kPlace == BlockPlace::kLast)
                    _mm512_storeu_ps(of_tile, _mm512_fmadd_ps(panels[group].d, after, _mm512_loadu_ps(of_tile)));
                else
                    _mm512_storeu_ps(of_panel, after);
            }
        });
    }
};

struct Q6_KFew {
    static constexpr std::uint32_t kLanes = 8;
    using Type = Q6_K;

    /// The scales of a block's quarters: `word` has those of two blocks, four bytes a row.
    static __m512 quarter_scales(__m512i word, std::uint32_t block) {
        const int first = 2 * static_cast<int>(block % 2), second = first + 1;
        // The byte of each 32-bit lane goes to its top.
        const auto top = [](int byte, int lane) { return (byte + 4 * lane) << 24 | 0x808080; };
        const __m512i bytes = _mm512_setr_epi32(top(first, 0), top(first, 1), top(first, 2), top(first, 3),
                                                top(second, 0), top(second, 1), top(second, 2), top(second, 3),
                                                top(first, 0), top(first, 1), top(first, 2), top(first, 3),
                                                top(second, 0), top(second, 1), top(second, 2), top(second, 3));
        return to_float(top_byte_signed(_mm512_shuffle_epi8(word, bytes)));
    }

    /// -32 · Σ x of each quarter, in its first lane.
    static __m512i start(const ActivationBlock& x) {
        constexpr int kFirst = 0x0000ffe0, kSecond = static_cast<int>(0xffe00000);  // -32 in one of two halves
        return _mm512_madd_epi16(
            every_u32(x.sum), _mm512_setr_epi32(kFirst, 0, 0, 0, kSecond, 0, 0, 0, kFirst, 0, 0, 0, kSecond, 0, 0, 0));
    }

    static void dot(const EightRows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t column = 0, at = 0; column < n_in; column += Type::kColumns, at += Type::kBlockBytes) {
            const __m512 d = row_halves(rows, at + Type::kD);
            __m512i words[4];
            Type::load_scales(rows, at, words);
            __m512 panel_sum = _mm512_setzero_ps();
#pragma GCC unroll 2
            for (std::uint32_t half = 0; half < 2; ++half, x += 4) {
                __m512i sums[4][4];  // [group][row]
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row) {
                    rows.prefetch_next_group(at + half * (Type::kBlockBytes / 2), Type::kBlockBytes / 2, row, 4);
                    __m512i levels[4];
                    Type::join_bits(two_rows(rows, row, at + 64 * half), two_rows(rows, row, at + 64 * half + 32),
                                    two_rows(rows, row, at + Type::kHighBits + 32 * half), levels);
#pragma GCC unroll 4
                    for (std::uint32_t group = 0; group < 4; ++group)
                        sums[group][row] = _mm512_dpbusd_epi32(start(x[group]), levels[group], block_twice(x[group]));
                }
#pragma GCC unroll 4
                for (std::uint32_t group = 0; group < 4; ++group) {
                    const __m512 scales = quarter_scales(words[2 * half + group / 2], group);
                    const __m512 sum = add_quarters(_mm512_mul_ps(to_float(add_items(sums[group])), scales));
                    panel_sum = _mm512_fmadd_ps(_mm512_set1_ps(x[group].scale), sum, panel_sum);
                }
            }
            acc = _mm512_fmadd_ps(d, panel_sum, acc);
        }
        store_rows(y, acc);
    }
};

}  // namespace

void matmul_q6_k(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<Q6_KFew>(tile, 0) : LaneMatmul<Q6_K>::run(tile);
}

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
