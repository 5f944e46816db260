// Q4_K and Q5_K, as described in avx2/q4_k.cpp: value d · scale · q - dmin · min, both per block of 32 columns.
// d · scale and dmin · min are exact in f32 (11 by 6 bits), so taking them together changes no bit of the result.
#include "backends/cpu/kernels/avx512/eight_rows.h"
#include "backends/cpu/kernels/avx512/kernels.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

/// Of sixteen lanes: scales and minima of four blocks in the bytes of a lane.
struct KHeader {
    __m512 d, minus_dmin;
    __m512i scales[2], mins[2];

    __m512 scale(std::uint32_t block) const { return _mm512_mul_ps(d, byte(scales[block / 4], block % 4)); }
    __m512 minus_min(std::uint32_t block) const { return _mm512_mul_ps(minus_dmin, byte(mins[block / 4], block % 4)); }

private:
    static __m512 byte(__m512i words, std::uint32_t index) {
        return to_float(shuffle_lanes(words, 0x80'80'80'00 | index));
    }
};

/// The header is 16 bytes, so four words per row are transposed: d and dmin, then b[0..3], b[4..7], b[8..11].
template <std::uint32_t kRows>
KHeader load_header(const RowGroup<kRows>& rows, std::size_t at) {
    __m512i parts[4], words[4];
#pragma GCC unroll 4
    for (std::uint32_t first = 0; first < 4; ++first) parts[first] = header_rows(rows, first, at);
    transpose(parts, words);

    KHeader header;
    header.d = widen_low_f16(words[0]);
    header.minus_dmin = _mm512_sub_ps(_mm512_setzero_ps(), widen_low_f16(_mm512_srli_epi32(words[0], 16)));
    const __m512i six = _mm512_set1_epi8(0x3f), four = _mm512_set1_epi8(0x0f), two = _mm512_set1_epi8(0x30);
    const auto top_bits = [two](__m512i word) { return _mm512_and_si512(_mm512_srli_epi32(word, 2), two); };
    header.scales[0] = _mm512_and_si512(words[1], six);
    header.mins[0] = _mm512_and_si512(words[2], six);
    header.scales[1] = _mm512_or_si512(_mm512_and_si512(words[3], four), top_bits(words[1]));
    header.mins[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(words[3], 4), four), top_bits(words[2]));
    return header;
}

/// acc + x scale · (scale · sum - min · Σ x)
inline __m512 add_block(__m512 acc, float x_scale, __m512 scale, __m512 sum, __m512 minus_min, __m512i x_sum) {
    const __m512 offset = _mm512_mul_ps(minus_min, to_float(x_sum));
    return _mm512_fmadd_ps(_mm512_set1_ps(x_scale), _mm512_fmadd_ps(scale, sum, offset), acc);
}

template <int kBits>
struct Kx {
    static constexpr std::uint32_t kLanes = 16, kGroups = 2;
    static constexpr std::size_t kColumns = 256, kFifthBits = 16, kNibbles = kBits == 5 ? 48 : 16;
    static constexpr std::size_t kBlockBytes = kNibbles + 128;

    struct Panel {
        alignas(64) std::uint8_t w[kPanelBlocks][8][64];  // [block][quad of columns][row][column]
        __m512 scale[kPanelBlocks], minus_min[kPanelBlocks];
    };

    /// q of 16 columns from `column` (0 or 16) on in both blocks of a group of 64.
    static void load_levels(const Rows& rows, std::uint32_t first, std::size_t at, std::uint32_t group,
                            std::uint32_t column, __m512i (&block)[2]) {
        const __m512i nibble = _mm512_set1_epi8(15);
        const __m512i q = four_rows(rows, first, at + kNibbles + 32 * group + column);
        block[0] = _mm512_and_si512(q, nibble);
        block[1] = _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble);
        if constexpr (kBits == 5) {
            const __m512i fifth = four_rows(rows, first, at + kFifthBits + column);
            for (std::uint32_t b = 0; b < 2; ++b) {
                const __m512i bit = _mm512_set1_epi8(static_cast<char>(1 << (2 * group + b)));
                const auto is_set = _mm512_test_epi8_mask(fifth, bit);
                block[b] = _mm512_mask_add_epi8(block[b], is_set, block[b], _mm512_set1_epi8(16));
            }
        }
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        const KHeader header = load_header(rows, at);
#pragma GCC unroll 8
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) {
            panel.scale[b] = header.scale(b);
            panel.minus_min[b] = header.minus_min(b);
        }
#pragma GCC unroll 4
        for (std::uint32_t group = 0; group < 4; ++group) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                __m512i low[4], high[4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t first = 0; first < 4; ++first) {
                    __m512i levels[2];
                    load_levels(rows, first, at, group, 16 * part, levels);
                    low[first] = levels[0];
                    high[first] = levels[1];
                }
                transpose(low, quads);
                store_quads(panel.w[2 * group] + 4 * part, quads);
                transpose(high, quads);
                store_quads(panel.w[2 * group + 1] + 4 * part, quads);
            }
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const Quads a(panels[0].w[block]), b(panels[1].w[block]);
        const __m512 scale[kGroups] = {panels[0].scale[block], panels[1].scale[block]};
        const __m512 minus_min[kGroups] = {panels[0].minus_min[block], panels[1].minus_min[block]};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const TwoSums products(a, b, x.q, _mm512_setzero_si512(), _mm512_setzero_si512());
            const __m512i x_sum = block_offset(x.sum, 1);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                float* acc = sums[group][t];
                _mm512_storeu_ps(acc, add_block(_mm512_loadu_ps(acc), x.scale, scale[group], products.all(group),
                                                minus_min[group], x_sum));
            }
        });
    }
};

template <int kBits>
struct KxFew {
    static constexpr std::uint32_t kLanes = 8;
    using Type = Kx<kBits>;

    static void dot(const EightRows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        const __m512i nibble = _mm512_set1_epi8(15);
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t column = 0, at = 0; column < n_in; column += Type::kColumns, at += Type::kBlockBytes, x += 8) {
            const KHeader header = load_header(rows, at);
            __m512i fifth[4] = {};
            if constexpr (kBits == 5) {
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row) fifth[row] = two_rows(rows, row, at + Type::kFifthBits);
            }
#pragma GCC unroll 4
            for (std::uint32_t group = 0; group < 4; ++group) {
                __m512i sums[2][4];  // [block][row]
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row) {
                    rows.prefetch_next_group(at + group * (Type::kBlockBytes / 4), Type::kBlockBytes / 4, row, 4);
                    const __m512i q = two_rows(rows, row, at + Type::kNibbles + 32 * group);
                    __m512i levels[2] = {_mm512_and_si512(q, nibble),
                                         _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble)};
#pragma GCC unroll 2
                    for (std::uint32_t b = 0; b < 2; ++b) {
                        if constexpr (kBits == 5) {
                            const __m512i bit = _mm512_set1_epi8(static_cast<char>(1 << (2 * group + b)));
                            const auto is_set = _mm512_test_epi8_mask(fifth[row], bit);
                            levels[b] = _mm512_mask_add_epi8(levels[b], is_set, levels[b], _mm512_set1_epi8(16));
                        }
                        const __m512i x_block = block_twice(x[2 * group + b]);
                        sums[b][row] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), levels[b], x_block);
                    }
                }
#pragma GCC unroll 2
                for (std::uint32_t b = 0; b < 2; ++b) {
                    const std::uint32_t block = 2 * group + b;
                    const __m512 sum = to_float(add_quarters(add_items(sums[b])));
                    acc = add_block(acc, x[block].scale, header.scale(block), sum, header.minus_min(block),
                                    block_sum(x[block]));
                }
            }
        }
        store_rows(y, acc);
    }
};

template <int kBits>
void matmul(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<KxFew<kBits>>(tile, 0) : LaneMatmul<Kx<kBits>>::run(tile);
}

}  // namespace

void matmul_q4_k(const MatmulTile& tile) { matmul<4>(tile); }
void matmul_q5_k(const MatmulTile& tile) { matmul<5>(tile); }

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
