// Q4_K and Q5_K, as described in avx2/q4_k.cpp: value d · scale · q - dmin · min, both per block of 32 columns.
// d · scale and dmin · min are exact in f32 (11 by 6 bits), so taking them together changes no bit of the result.
#include "backends/cpu/kernels/neon/kernels.h"
#include "backends/cpu/kernels/neon/lanes.h"

namespace lfm::cpu::neon {
namespace {

/// Of four rows: scales and minima of four blocks in the bytes of a lane.
struct Header {
    float32x4_t d, minus_dmin;
    uint32x4_t scales[2], mins[2];

    /// Items of the 16 bytes: d and dmin, then b[0..3], b[4..7], b[8..11].
    template <std::uint32_t kRows>
    Header(const RowGroup<kRows>& rows, std::uint32_t first, std::size_t at) {
        uint32x4_t items[4];
        header_items(rows, first, at, items);
        d = widen_f16(vmovn_u32(items[0]));
        minus_dmin = vnegq_f32(widen_f16(vshrn_n_u32(items[0], 16)));
        const uint32x4_t six = vdupq_n_u32(0x3f3f3f3f), four = vdupq_n_u32(0x0f0f0f0f), two = vdupq_n_u32(0x30303030);
        const auto top_bits = [two](uint32x4_t word) { return vandq_u32(vshrq_n_u32(word, 2), two); };
        scales[0] = vandq_u32(items[1], six);
        mins[0] = vandq_u32(items[2], six);
        scales[1] = vorrq_u32(vandq_u32(items[3], four), top_bits(items[1]));
        mins[1] = vorrq_u32(vandq_u32(vshrq_n_u32(items[3], 4), four), top_bits(items[2]));
    }
    float32x4_t scale(std::uint32_t block) const { return vmulq_f32(d, byte(scales[block / 4], block % 4)); }
    float32x4_t minus_min(std::uint32_t block) const { return vmulq_f32(minus_dmin, byte(mins[block / 4], block % 4)); }

private:
    static float32x4_t byte(uint32x4_t words, std::uint32_t index) {
        const uint32x4_t at_top = vshlq_u32(words, vdupq_n_s32(24 - 8 * static_cast<std::int32_t>(index)));
        return vcvtq_f32_u32(vshrq_n_u32(at_top, 24));
    }
};

/// acc + x scale · (scale · sum - min · Σ x)
inline float32x4_t add_block(float32x4_t acc, const ActivationBlock& x, float32x4_t scale, int32x4_t sum,
                             float32x4_t minus_min) {
    const float32x4_t offset = vmulq_n_f32(minus_min, static_cast<float>(x.sum[0] + x.sum[1]));
    return vfmaq_n_f32(acc, vfmaq_f32(offset, scale, vcvtq_f32_s32(sum)), x.scale);
}

template <int kBits>
struct Kx {
    static constexpr std::uint32_t kLanes = 4, kGroups = 2;
    static constexpr std::size_t kColumns = 256, kFifthBits = 16, kNibbles = kBits == 5 ? 48 : 16;
    static constexpr std::size_t kBlockBytes = kNibbles + 128;

    struct Panel {
        PanelLevels w;
        float32x4_t scale[kPanelBlocks], minus_min[kPanelBlocks];
    };

    /// q of 16 columns from `column` (0 or 16) on in both blocks of a group of 64.
    static void load_levels(const std::byte* block, std::uint32_t group, std::uint32_t column,
                            uint8x16_t (&levels)[2]) {
        const uint8x16_t q = load16(block + kNibbles + 32 * group + column);
        levels[0] = vandq_u8(q, vdupq_n_u8(15));
        levels[1] = vshrq_n_u8(q, 4);
        if constexpr (kBits == 5) {
            const uint8x16_t fifth = load16(block + kFifthBits + column), sixteen = vdupq_n_u8(16);
            for (std::uint32_t b = 0; b < 2; ++b) {
                const auto bit = vdupq_n_u8(static_cast<std::uint8_t>(1u << (2 * group + b)));
                levels[b] = vorrq_u8(levels[b], vandq_u8(vtstq_u8(fifth, bit), sixteen));
            }
        }
    }

    static void unpack(const Rows& rows, std::size_t at, std::uint32_t, Panel& panel) {
        const Header header(rows, 0, at);
        for (std::uint32_t b = 0; b < kPanelBlocks; ++b) {
            panel.scale[b] = header.scale(b);
            panel.minus_min[b] = header.minus_min(b);
        }
        for (std::uint32_t group = 0; group < 4; ++group) {
            for (std::uint32_t part = 0; part < 2; ++part) {
                uint8x16_t low[4], high[4];
#pragma GCC unroll 4
                for (std::uint32_t row = 0; row < 4; ++row) {
                    uint8x16_t levels[2];
                    load_levels(rows.row[row] + at, group, 16 * part, levels);
                    low[row] = levels[0];
                    high[row] = levels[1];
                }
                store_quads(panel.w[2 * group] + 4 * part, low);
                store_quads(panel.w[2 * group + 1] + 4 * part, high);
            }
        }
    }

    static void multiply(const Panel (&panels)[kGroups], std::uint32_t block, const TokenTile& tokens,
                         TileSums<kLanes>* sums) {
        const HalfBlock left[kGroups] = {HalfBlock(panels[0].w[block]), HalfBlock(panels[1].w[block])};
        const HalfBlock right[kGroups] = {HalfBlock(panels[0].w[block] + 4), HalfBlock(panels[1].w[block] + 4)};
        tokens.each(block, [&](const ActivationBlock& x, std::uint32_t t) {
            const int8x16_t x_left = vld1q_s8(x.q), x_right = vld1q_s8(x.q + 16);
#pragma GCC unroll 2
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                const int32x4_t sum =
                    vaddq_s32(left[group].multiply(every(0), x_left), right[group].multiply(every(0), x_right));
                float* acc = sums[group][t];
                vst1q_f32(
                    acc, add_block(vld1q_f32(acc), x, panels[group].scale[block], sum, panels[group].minus_min[block]));
            }
        });
    }
};

template <int kBits>
struct KxFew {
    static constexpr std::uint32_t kLanes = 8;
    using Type = Kx<kBits>;

    static void dot(const EightRows& rows, const ActivationBlock* x, std::uint32_t n_in, float* y) {
        float32x4_t acc[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        for (std::size_t column = 0, at = 0; column < n_in; column += Type::kColumns, at += Type::kBlockBytes, x += 8) {
            const Header headers[2] = {Header(rows, 0, at), Header(rows, 4, at)};
            for (std::uint32_t group = 0; group < 4; ++group) {
                for (std::uint32_t four = 0; four < 2; ++four) {
                    int32x4_t sums[2][4];  // [block][row]
#pragma GCC unroll 4
                    for (std::uint32_t row = 0; row < 4; ++row) {
                        rows.prefetch_next_group(at + group * (Type::kBlockBytes / 4), Type::kBlockBytes / 4,
                                                 4 * four + row, 8);
                        uint8x16_t left[2], right[2];
                        Type::load_levels(rows.row[4 * four + row] + at, group, 0, left);
                        Type::load_levels(rows.row[4 * four + row] + at, group, 16, right);
#pragma GCC unroll 2
                        for (std::uint32_t b = 0; b < 2; ++b) {
                            const std::int8_t* q = x[2 * group + b].q;
                            sums[b][row] = vdotq_s32(vdotq_s32(every(0), signed16(left[b]), vld1q_s8(q)),
                                                     signed16(right[b]), vld1q_s8(q + 16));
                        }
                    }
#pragma GCC unroll 2
                    for (std::uint32_t b = 0; b < 2; ++b) {
                        const std::uint32_t block = 2 * group + b;
                        acc[four] = add_block(acc[four], x[block], headers[four].scale(block), add_items(sums[b]),
                                              headers[four].minus_min(block));
                    }
                }
            }
        }
        vst1q_f32(y, acc[0]);
        vst1q_f32(y + 4, acc[1]);
    }
};

template <int kBits>
void matmul(const MatmulTile& tile) {
    tile.n_tokens < kFewestUnpacked ? multiply_few<KxFew<kBits>>(tile, 0) : LaneMatmul<Kx<kBits>>::run(tile);
}

}  // namespace

void matmul_q4_k(const MatmulTile& tile) { matmul<4>(tile); }
void matmul_q5_k(const MatmulTile& tile) { matmul<5>(tile); }

}  // namespace lfm::cpu::neon
