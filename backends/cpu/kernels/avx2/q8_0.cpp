// Q8_0: f16 d, 32 signed bytes; value d · q.
// The multiplication needs one unsigned side: |w| · (x with w's sign). A pair is at most 2 · 128 · 127 = 32512, which
// fits 16 bits (also for w = -128), two pairs do not.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"

namespace lfm::cpu::avx2 {
namespace {

struct Q8_0 {
    static constexpr std::uint32_t kLanes = 8, kGroups = 1;
    static constexpr std::size_t kColumns = 32, kBlockBytes = 34;

    struct Panel {
        alignas(32) std::uint8_t w[kPanelBlocks][8][32];  // [block][quad of columns][row][column]
        alignas(32) float d[kPanelBlocks][8];
    };

    static __m256i multiply_quads(__m256i w, __m256i magnitude, __m256i x) {
        return add_pairs(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w)));
    }

    static void dot(const Rows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        __m256 acc = _mm256_setzero_ps();
        for (std::size_t b = 0, at = 0; b < n_in / kColumns; ++b, at += kBlockBytes) {
            const __m256i x_low = twice16(x[b].q), x_high = twice16(x[b].q + 16);
            __m256i sums[4];
#pragma GCC unroll 4
            for (std::uint32_t pair = 0; pair < 4; ++pair) {
                rows.prefetch_next_group(at, kBlockBytes, pair, 4);
                const __m256i low = row_pair(rows, pair, at + 2), high = row_pair(rows, pair, at + 18);
                sums[pair] = _mm256_add_epi32(multiply_quads(low, _mm256_abs_epi8(low), x_low),
                                              multiply_quads(high, _mm256_abs_epi8(high), x_high));
            }
            const __m256 sum = _mm256_cvtepi32_ps(add_units32(sums));
            const __m256 scaled = _mm256_mul_ps(row_halves(rows, at), sum);
            acc = _mm256_fmadd_ps(_mm256_set1_ps(x[b].scale), scaled, acc);
        }
        _mm256_store_ps(y, acc);
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t n_blocks, Panel& panel) {
        for (std::uint32_t b = 0; b < n_blocks; ++b, at += kBlockBytes) {
            for (std::uint32_t half = 0; half < 2; ++half) {
                __m256i pairs[4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t pair = 0; pair < 4; ++pair) pairs[pair] = row_pair(rows, pair, at + 2 + 16 * half);
                transpose(pairs, quads);
                store_quads(panel.w[b] + 4 * half, quads);
            }
            _mm256_store_ps(panel.d[b], row_halves(rows, at));
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const Panel& panel = panels[0];
        const __m256 d = _mm256_load_ps(panel.d[block]);
        __m256i magnitude[8];
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; ++quad) magnitude[quad] = _mm256_abs_epi8(load32(panel.w[block][quad]));
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            float* acc = sums[0][t];
            __m256i sum = multiply_quads(load32(panel.w[block][0]), magnitude[0], every_u32(x.q));
#pragma GCC unroll 8
            for (int quad = 1; quad < 8; ++quad) {
                const __m256i w = load32(panel.w[block][quad]);
                add_in_order32(sum, multiply_quads(w, magnitude[quad], every_u32(x.q + 4 * quad)));
            }
            const __m256 scaled = _mm256_mul_ps(d, _mm256_cvtepi32_ps(sum));
            _mm256_store_ps(acc, _mm256_fmadd_ps(_mm256_set1_ps(x.scale), scaled, _mm256_load_ps(acc)));
        });
    }
};

}  // namespace

void matmul_q8_0(const MatmulTile& tile) { LaneMatmul<Q8_0>::run(tile); }

}  // namespace lfm::cpu::avx2
