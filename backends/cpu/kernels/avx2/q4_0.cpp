// Q4_0: f16 d, 16 bytes; low nibbles are columns 0..15, high ones 16..31; value d(q - 8).
// Nibbles stay unsigned; 8 · Σ activations is subtracted from the integer sum. A pair of products is at most
// 2 · 15 · 127 = 3810 and eight of them 30480, so a whole block of a row fits 16 bits.
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/lanes.h"

namespace lfm::cpu::avx2 {
namespace {

struct Q4_0 {
    static constexpr std::uint32_t kLanes = 8, kGroups = 1;
    static constexpr std::int32_t kOffset = -8;
    static constexpr std::size_t kColumns = 32, kBlockBytes = 18;

    struct Panel {
        alignas(32) std::uint8_t w[kPanelBlocks][8][32];  // [block][quad of columns][row][column]
        alignas(32) float d[kPanelBlocks][8];
    };

    static void dot(const Rows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        const __m256i nibble = _mm256_set1_epi8(15), factor = _mm256_set1_epi16(kOffset);
        __m256 acc = _mm256_setzero_ps();
        for (std::size_t b = 0, at = 0; b < n_in / kColumns; ++b, at += kBlockBytes) {
            const __m256i x_low = twice16(x[b].q), x_high = twice16(x[b].q + 16);
            __m256i sums[4];
#pragma GCC unroll 8
            for (std::uint32_t pair = 0; pair < 4; ++pair) {
                rows.prefetch_next_group(at, kBlockBytes, pair, 4);
                const __m256i q = row_pair(rows, pair, at + 2);
                const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(q, nibble), x_low);
                const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(q, 4), nibble), x_high);
                sums[pair] = _mm256_add_epi16(low, high);
            }
            const __m256i offset = _mm256_madd_epi16(every_u32(x[b].sum), factor);
            __m256i first, second;
            add_units(sums, first, second);
            const __m256i sum = _mm256_add_epi32(add_pairs(_mm256_add_epi16(first, second)), offset);
            const __m256 scaled = _mm256_mul_ps(row_halves(rows, at), _mm256_cvtepi32_ps(sum));
            acc = _mm256_fmadd_ps(_mm256_set1_ps(x[b].scale), scaled, acc);
        }
        _mm256_store_ps(y, acc);
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t n_blocks, Panel& panel) {
        const __m256i nibble = _mm256_set1_epi8(15);
        for (std::uint32_t b = 0; b < n_blocks; ++b, at += kBlockBytes) {
            __m256i low[4], high[4], quads[4];
#pragma GCC unroll 8
            for (std::uint32_t pair = 0; pair < 4; ++pair) {
                const __m256i q = row_pair(rows, pair, at + 2);
                low[pair] = _mm256_and_si256(q, nibble);
                high[pair] = _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble);
            }
            transpose(low, quads);
            store_quads(panel.w[b], quads);
            transpose(high, quads);
            store_quads(panel.w[b] + 4, quads);
            _mm256_store_ps(panel.d[b], row_halves(rows, at));
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const Panel& panel = panels[0];
        const __m256 d = _mm256_load_ps(panel.d[block]);
        const __m256i factor = _mm256_set1_epi16(kOffset);
        __m256i w[8];
#pragma GCC unroll 8
        for (int quad = 0; quad < 8; ++quad) w[quad] = load32(panel.w[block][quad]);
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            float* acc = sums[0][t];
            __m256i products = _mm256_maddubs_epi16(w[0], every_u32(x.q));
#pragma GCC unroll 8
            for (int quad = 1; quad < 8; ++quad) {
                add_in_order16(products, _mm256_maddubs_epi16(w[quad], every_u32(x.q + 4 * quad)));
            }
            const __m256i offset = _mm256_madd_epi16(every_u32(x.sum), factor);
            const __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(add_pairs(products), offset));
            const __m256 scale = _mm256_set1_ps(x.scale);
            _mm256_store_ps(acc, _mm256_fmadd_ps(scale, _mm256_mul_ps(d, sum), _mm256_load_ps(acc)));
        });
    }
};

}  // namespace

void matmul_q4_0(const MatmulTile& tile) { LaneMatmul<Q4_0>::run(tile); }

}  // namespace lfm::cpu::avx2
