// Q4_0 and Q8_0: an f16 d and 32 weights; value d(q - 8), respectively d · q. The multiplication needs one unsigned
// side: nibbles are unsigned, signed bytes become so by adding 128. 8 (or 128) times Σ x is subtracted from the integer
// sum.
#include "backends/cpu/kernels/avx512/kernels.h"
#include "backends/cpu/kernels/avx512/lanes.h"

namespace lfm::cpu::LFM_AVX512_NAMESPACE {
namespace {

/// Low nibbles are columns 0..15, high ones 16..31.
struct Q4_0 {
    static constexpr std::size_t kBlockBytes = 18;
    static constexpr std::int32_t kOffset = -8;

    static void load(const Rows& rows, std::uint32_t first, std::size_t at, __m512i& left, __m512i& right) {
        const __m512i nibble = _mm512_set1_epi8(15), q = four_rows(rows, first, at + 2);
        left = _mm512_and_si512(q, nibble);
        right = _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble);
    }
};

struct Q8_0 {
    static constexpr std::size_t kBlockBytes = 34;
    static constexpr std::int32_t kOffset = -128;

    static void load(const Rows& rows, std::uint32_t first, std::size_t at, __m512i& left, __m512i& right) {
        const __m512i sign = _mm512_set1_epi8(-128);
        left = _mm512_xor_si512(four_rows(rows, first, at + 2), sign);
        right = _mm512_xor_si512(four_rows(rows, first, at + 18), sign);
    }
};

template <class Levels>
struct Symmetric : Levels {
    static constexpr std::uint32_t kLanes = 16, kGroups = 2;
    static constexpr std::size_t kColumns = 32;
    using Levels::kBlockBytes, Levels::kOffset;

    struct Panel {
        alignas(64) std::uint8_t w[kPanelBlocks][8][64];  // [block][quad of columns][row][column]
        __m512 d[kPanelBlocks];
    };

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t n_blocks, Panel& panel) {
        for (std::uint32_t b = 0; b < n_blocks; ++b, at += kBlockBytes) {
            __m512i left[4], right[4], quads[4];
#pragma GCC unroll 4
            for (std::uint32_t first = 0; first < 4; ++first) Levels::load(rows, first, at, left[first], right[first]);
            transpose(left, quads);
            store_quads(panel.w[b], quads);
            transpose(right, quads);
            store_quads(panel.w[b] + 4, quads);
            panel.d[b] = row_halves(rows, at);
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const Quads a(panels[0].w[block]), b(panels[1].w[block]);
        const __m512 d[kGroups] = {panels[0].d[block], panels[1].d[block]};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const TwoSums products(a, b, x.q, block_offset(x.sum, kOffset), _mm512_setzero_si512());
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                float* acc = sums[group][t];
                _mm512_storeu_ps(acc, add_block(_mm512_loadu_ps(acc), x.scale, d[group], products.all(group)));
            }
        });
    }
};

/// Sixteen rows at a time: with eight, instructions were the limit where two cores read more than 70 GB/s. (Q8_0 comes
/// slower from memory that way.)
struct Q4_0Few {
    static constexpr std::uint32_t kLanes = 16;

    /// kOffset · Σ x in the first item of each row.
    static __m512i start(const ActivationBlock& x) {
        constexpr short kOffset = Q4_0::kOffset;
        const __m512i factors = _mm512_broadcast_i32x4(_mm_setr_epi16(kOffset, kOffset, 0, 0, 0, 0, 0, 0));
        return _mm512_madd_epi16(every_u32(x.sum), factors);
    }

    static void dot(const Rows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t b = 0, at = 0; b < n_in / 32; ++b, at += Q4_0::kBlockBytes) {
            const __m512i x_left = _mm512_broadcast_i32x4(load16(x[b].q));
            const __m512i x_right = _mm512_broadcast_i32x4(load16(x[b].q + 16));
            __m512i sums[4];
#pragma GCC unroll 4
            for (std::uint32_t first = 0; first < 4; ++first) {
                rows.prefetch_next_group(at, Q4_0::kBlockBytes, first, 4);
                __m512i left, right;
                Q4_0::load(rows, first, at, left, right);
                sums[first] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start(x[b]), left, x_left), right, x_right);
            }
            acc = add_block(acc, x[b].scale, row_halves(rows, at), to_float(add_items(sums)));
        }
        _mm512_storeu_ps(y, acc);
    }
};

}  // namespace

void matmul_q4_0(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<Q4_0Few>(tile, 0) : LaneMatmul<Symmetric<Q4_0>>::run(tile);
}
void matmul_q8_0(const MatmulTile& tile) { LaneMatmul<Symmetric<Q8_0>>::run(tile); }

}  // namespace lfm::cpu::LFM_AVX512_NAMESPACE
