// Q4_0 and Q8_0: an f16 d and 32 weights; value d(q - 8), respectively d · q.
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"

namespace lfm::cpu::neon {
namespace {

/// Low nibbles are columns 0..15, high ones 16..31. 8 · Σ x is subtracted from the integer sum.
struct Q4_0 {
    static constexpr std::size_t kBlockBytes = 18;
    static constexpr std::int32_t kOffset = -8;

    static void load(const std::byte* block, uint8x16_t& left, uint8x16_t& right) {
        const uint8x16_t q = load16(block + 2);
        left = vandq_u8(q, vdupq_n_u8(15));
        right = vshrq_n_u8(q, 4);
    }
};

struct Q8_0 {
    static constexpr std::size_t kBlockBytes = 34;
    static constexpr std::int32_t kOffset = 0;

    static void load(const std::byte* block, uint8x16_t& left, uint8x16_t& right) {
        left = load16(block + 2);
        right = load16(block + 18);
    }
};

template <class Levels>
int32x4_t offset(const ActivationBlock& x) {
    return every(Levels::kOffset * (x.sum[0] + x.sum[1]));
}

template <class Levels>
struct Symmetric {
    static constexpr std::uint32_t kLanes = 4, kGroups = 2;
    static constexpr std::size_t kColumns = 32, kBlockBytes = Levels::kBlockBytes;

    struct Panel {
        PanelLevels w;
        float32x4_t d[kPanelBlocks];
    };

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t n_blocks, Panel& panel) {
        for (std::uint32_t b = 0; b < n_blocks; ++b, at += kBlockBytes) {
            uint8x16_t left[4], right[4];
#pragma GCC unroll 4
            for (std::uint32_t row = 0; row < 4; ++row) Levels::load(rows.row[row] + at, left[row], right[row]);
            store_quads(panel.w[b], left);
            store_quads(panel.w[b] + 4, right);
            panel.d[b] = row_halves(rows, 0, at);
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const HalfBlock left[kGroups] = {HalfBlock(panels[0].w[block]), HalfBlock(panels[1].w[block])};
        const HalfBlock right[kGroups] = {HalfBlock(panels[0].w[block] + 4), HalfBlock(panels[1].w[block] + 4)};
        const float32x4_t d[kGroups] = {panels[0].d[block], panels[1].d[block]};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const int8x16_t x_left = vld1q_s8(x.q), x_right = vld1q_s8(x.q + 16);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                const int32x4_t sum = vaddq_s32(left[group].multiply(offset<Levels>(x), x_left),
                                                right[group].multiply(every(0), x_right));
                float* acc = sums[group][t];
                vst1q_f32(acc, add_block(vld1q_f32(acc), x.scale, d[group], sum));
            }
        });
    }
};

template <class Levels>
struct Few {
    static constexpr std::uint32_t kLanes = 8;

    static void dot(const EightRows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        float32x4_t acc[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        for (std::size_t b = 0, at = 0; b < n_in / 32; ++b, at += Levels::kBlockBytes) {
            const int8x16_t x_left = vld1q_s8(x[b].q), x_right = vld1q_s8(x[b].q + 16);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < 2; ++group) {
                int32x4_t sums[4];
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row) {
                    rows.prefetch_next_group(at, Levels::kBlockBytes, 4 * group + row, 8);
                    uint8x16_t left, right;
                    Levels::load(rows.row[4 * group + row] + at, left, right);
                    sums[row] = vdotq_s32(vdotq_s32(every(0), signed16(left), x_left), signed16(right), x_right);
                }
                const int32x4_t sum = vaddq_s32(add_items(sums), offset<Levels>(x[b]));
                acc[group] = add_block(acc[group], x[b].scale, row_halves(rows, 4 * group, at), sum);
            }
        }
        vst1q_f32(y, acc[0]);
        vst1q_f32(y + 4, acc[1]);
    }
};

template <class Levels>
void matmul(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<Few<Levels>>(tile, 0) : LaneMatmul<Symmetric<Levels>>::run(tile);
}

}  // namespace

void matmul_q4_0(const MatmulTile& tile) { matmul<Q4_0>(tile); }
void matmul_q8_0(const MatmulTile& tile) { matmul<Q8_0>(tile); }

}  // namespace lfm::cpu::neon
