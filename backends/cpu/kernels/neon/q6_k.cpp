// Q6_K, as described in avx2/q6_k.cpp: value d · scale · (q - 32), a scale per 16 columns. Sums of 16 products start
// from -32 · Σ x; they and their products with the scales stay below 2^24, where f32 holds every integer: all exact.
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"

namespace lfm::cpu::neon {
namespace {

/// The scales of the columns 0..15 and 16..31 of a block, by row.
struct Scales {
    float32x4_t first, second;

    /// `word` has the scales of four neighbouring groups of 16 columns in each lane.
    static Scales of(uint32x4_t word, std::uint32_t block) {
        const std::int32_t first = 2 * static_cast<std::int32_t>(block % 2);
        return {byte(word, first), byte(word, first + 1)};
    }
    float32x4_t apply(int32x4_t first_sum, int32x4_t second_sum) const {
        return vfmaq_f32(vmulq_f32(vcvtq_f32_s32(first_sum), first), vcvtq_f32_s32(second_sum), second);
    }

private:
    static float32x4_t byte(uint32x4_t word, std::int32_t index) {
        const int32x4_t at_top = vshlq_s32(vreinterpretq_s32_u32(word), vdupq_n_s32(24 - 8 * index));
        return vcvtq_f32_s32(vshrq_n_s32(at_top, 24));
    }
};

struct Q6_K {
    static constexpr std::uint32_t kLanes = 4, kGroups = 2;
    static constexpr std::size_t kColumns = 256, kBlockBytes = 210, kHighBits = 128, kScales = 192, kD = 208;

    struct Panel {
        PanelLevels w;
        Scales scales[kPanelBlocks];
        float32x4_t d;
    };

    /// q of 16 columns from `column` (0 or 16) on in each of the four groups of a half.
    static void load_levels(const std::byte* block, std::uint32_t half, std::uint32_t column, uint8x16_t (&group)[4]) {
        const uint8x16_t even = load16(block + 64 * half + column), odd = load16(block + 64 * half + column + 32);
        const uint8x16_t high = load16(block + kHighBits + 32 * half + column);
        const uint8x16_t nibble = vdupq_n_u8(15), high_bits = vdupq_n_u8(0x30);
        group[0] = vorrq_u8(vandq_u8(even, nibble), vandq_u8(vshlq_n_u8(high, 4), high_bits));
        group[1] = vorrq_u8(vandq_u8(odd, nibble), vandq_u8(vshlq_n_u8(high, 2), high_bits));
        group[2] = vorrq_u8(vshrq_n_u8(even, 4), vandq_u8(high, high_bits));
        group[3] = vorrq_u8(vshrq_n_u8(odd, 4), vandq_u8(vshrq_n_u8(high, 2), high_bits));
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        panel.d = row_halves(rows, 0, at + kD);
        uint32x4_t words[4];
        header_items(rows, 0, at + kScales, words);
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) panel.scales[b] = Scales::of(words[b / 2], b);
        for (std::uint32_t half = 0; half < 2; ++half) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                uint8x16_t levels[4][4], quads[4];
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row)
                    load_levels(rows.row[row] + at, half, 16 * part, levels[row]);
#pragma GCC unroll 4
                for (std::uint32_t group = 0; group < 4; ++group) {
#pragma GCC unroll 4
                    for (std::uint32_t row = 0; row < 4; ++row) quads[row] = levels[row][group];
                    store_quads(panel.w[4 * half + group] + 4 * part, quads);
                }
            }
        }
    }

    template <BlockPlace kPlace>
    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* panel_sums, TileSums<kLanes>* sums) {
        const HalfBlock left[kGroups] = {HalfBlock(panels[0].w[block]), HalfBlock(panels[1].w[block])};
        const HalfBlock right[kGroups] = {HalfBlock(panels[0].w[block] + 4), HalfBlock(panels[1].w[block] + 4)};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const int8x16_t x_left = vld1q_s8(x.q), x_right = vld1q_s8(x.q + 16);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                float *of_panel = panel_sums[group][t], *of_tile = sums[group][t];
                const float32x4_t sum =
                    panels[group].scales[block].apply(left[group].multiply(every(-32 * x.sum[0]), x_left),
                                                      right[group].multiply(every(-32 * x.sum[1]), x_right));
                const float32x4_t before = kPlace == BlockPlace::kFirst ? vdupq_n_f32(0) : vld1q_f32(of_panel);
                const float32x4_t after = vfmaq_n_f32(before, sum, x.scale);
                if constexpr (kPlace == BlockPlace::kLast)
                    vst1q_f32(of_tile, vfmaq_f32(vld1q_f32(of_tile), panels[group].d, after));
                else
                    vst1q_f32(of_panel, after);
            }
        });
    }
};

struct Q6_KFew {
    static constexpr std::uint32_t kLanes = 8;
    using Type = Q6_K;

    static void dot(const EightRows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        float32x4_t acc[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        for (std::size_t column = 0, at = 0; column < n_in; column += Type::kColumns, at += Type::kBlockBytes, x += 8) {
#pragma GCC unroll 2
            for (std::uint32_t four = 0; four < 2; ++four) {
                uint32x4_t words[4];
                header_items(rows, 4 * four, at + Type::kScales, words);
                float32x4_t panel_sum = vdupq_n_f32(0);
                for (std::uint32_t half = 0; half < 2; ++half) {
                    int32x4_t sums[2][4][4];  // [columns of 16][group][row]
#pragma GCC unroll 4
                    for (std::uint32_t row = 0; row < 4; ++row) {
                        rows.prefetch_next_group(at, Type::kBlockBytes, 8 * four + 4 * half + row, 16);
#pragma GCC unroll 2
                        for (std::uint32_t part = 0; part < 2; ++part) {
                            uint8x16_t levels[4];
                            Type::load_levels(rows.row[4 * four + row] + at, half, 16 * part, levels);
#pragma GCC unroll 4
                            for (std::uint32_t group = 0; group < 4; ++group) {
                                const int8x16_t x_part = vld1q_s8(x[4 * half + group].q + 16 * part);
                                sums[part][group][row] = vdotq_s32(every(0), signed16(levels[group]), x_part);
                            }
                        }
                    }
#pragma GCC unroll 4
                    for (std::uint32_t group = 0; group < 4; ++group) {
                        const ActivationBlock& block = x[4 * half + group];
                        const int32x4_t first = vaddq_s32(add_items(sums[0][group]), every(-32 * block.sum[0]));
                        const int32x4_t second = vaddq_s32(add_items(sums[1][group]), every(-32 * block.sum[1]));
                        const Scales scales = Scales::of(words[2 * half + group / 2], group);
                        panel_sum = vfmaq_n_f32(panel_sum, scales.apply(first, second), block.scale);
                    }
                }
                acc[four] = vfmaq_f32(acc[four], row_halves(rows, 4 * four, at + Type::kD), panel_sum);
            }
        }
        vst1q_f32(y, acc[0]);
        vst1q_f32(y + 4, acc[1]);
    }
};

}  // namespace

void matmul_q6_k(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<Q6_KFew>(tile, 0) : LaneMatmul<Q6_K>::run(tile);
}

}  // namespace lfm::cpu::neon
