// Blocks to f32, written for reading: the definition of each type, and the weights of the exact table.
#include <cstring>

#include "backends/cpu/kernels/kernels.h"
#include "memory/blocks.h"
#include "memory/half.h"

namespace lfm::cpu {
namespace {

int low(std::uint8_t byte) { return byte & 15; }
int high(std::uint8_t byte) { return byte >> 4; }

// Every `weights_of` writes the values of one block.

void weights_of(const float& value, float* x) { *x = value; }

void weights_of(const BlockQ4_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < 16; ++j) {
        x[j] = d * static_cast<float>(low(block.qs[j]) - 8);
        x[j + 16] = d * static_cast<float>(high(block.qs[j]) - 8);
    }
}

void weights_of(const BlockQ4_1& block, float* x) {
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    for (int j = 0; j < 16; ++j) {
        x[j] = d * static_cast<float>(low(block.qs[j])) + m;
        x[j + 16] = d * static_cast<float>(high(block.qs[j])) + m;
    }
}

/// The fifth bit of element j, in its place.
int fifth_bit(const std::uint8_t* qh, int j) { return (qh[j / 8] >> (j % 8) & 1) << 4; }

void weights_of(const BlockQ5_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < 16; ++j) {
        x[j] = d * static_cast<float>((low(block.qs[j]) | fifth_bit(block.qh, j)) - 16);
        x[j + 16] = d * static_cast<float>((high(block.qs[j]) | fifth_bit(block.qh, j + 16)) - 16);
    }
}

void weights_of(const BlockQ5_1& block, float* x) {
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    for (int j = 0; j < 16; ++j) {
        x[j] = d * static_cast<float>(low(block.qs[j]) | fifth_bit(block.qh, j)) + m;
        x[j + 16] = d * static_cast<float>(high(block.qs[j]) | fifth_bit(block.qh, j + 16)) + m;
    }
}

void weights_of(const BlockQ8_0& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < 32; ++j) x[j] = d * static_cast<float>(block.qs[j]);
}

void weights_of(const BlockQ2_K& block, float* x) {
    const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
    for (int group = 0; group < 16; ++group) {  // of 16 weights
        const std::uint8_t* qs = block.qs + 32 * (group / 8) + 16 * (group % 2);
        const int shift = group % 8 / 2 * 2;
        const float scale = d * static_cast<float>(low(block.scales[group]));
        const float min = dmin * static_cast<float>(high(block.scales[group]));
        for (int l = 0; l < 16; ++l) *x++ = scale * static_cast<float>(qs[l] >> shift & 3) - min;
    }
}

int q3_scale(const BlockQ3_K& block, int k) {
    const int low_bits = k < 8 ? low(block.scales[k]) : high(block.scales[k - 8]);
    const int high_bits = block.scales[8 + k % 4] >> (2 * (k / 4)) & 3;
    return (low_bits | high_bits << 4) - 32;
}

void weights_of(const BlockQ3_K& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int group = 0; group < 16; ++group) {  // of 16 weights
        const std::uint8_t* qs = block.qs + 32 * (group / 8) + 16 * (group % 2);
        const std::uint8_t* hmask = block.hmask + 16 * (group % 2);
        const int shift = group % 8 / 2 * 2;
        const float scale = d * static_cast<float>(q3_scale(block, group));
        for (int l = 0; l < 16; ++l) {
            const int third_bit = hmask[l] >> (group / 2) & 1;
            *x++ = scale * static_cast<float>((qs[l] >> shift & 3) - (third_bit ? 0 : 4));
        }
    }
}

struct ScaleAndMin {
    int scale, min;
};

/// The k-th six-bit scale and minimum of Q4_K and Q5_K.
ScaleAndMin q45_scale(const std::uint8_t* scales, int k) {
    if (k < 4) return {scales[k] & 63, scales[k + 4] & 63};
    return {low(scales[k + 4]) | scales[k - 4] >> 6 << 4, high(scales[k + 4]) | scales[k] >> 6 << 4};
}

void weights_of(const BlockQ4_K& block, float* x) {
    const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
    for (int group = 0; group < 8; ++group) {  // of 32 weights
        const std::uint8_t* qs = block.qs + 32 * (group / 2);
        const ScaleAndMin pair = q45_scale(block.scales, group);
        const float scale = d * static_cast<float>(pair.scale), min = dmin * static_cast<float>(pair.min);
        for (int l = 0; l < 32; ++l) {
            const int q = group % 2 == 0 ? low(qs[l]) : high(qs[l]);
            *x++ = scale * static_cast<float>(q) - min;
        }
    }
}

void weights_of(const BlockQ5_K& block, float* x) {
    const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
    for (int group = 0; group < 8; ++group) {  // of 32 weights
        const std::uint8_t* qs = block.qs + 32 * (group / 2);
        const ScaleAndMin pair = q45_scale(block.scales, group);
        const float scale = d * static_cast<float>(pair.scale), min = dmin * static_cast<float>(pair.min);
        for (int l = 0; l < 32; ++l) {
            const int q = (group % 2 == 0 ? low(qs[l]) : high(qs[l])) | (block.qh[l] >> group & 1) << 4;
            *x++ = scale * static_cast<float>(q) - min;
        }
    }
}

void weights_of(const BlockQ6_K& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int group = 0; group < 8; ++group) {  // of 32 weights, with a scale for every 16
        const int half = group / 4, quarter = group % 4;
        const std::uint8_t* ql = block.ql + 64 * half + 32 * (quarter % 2);
        const std::uint8_t* qh = block.qh + 32 * half;
        for (int l = 0; l < 32; ++l) {
            const int q = (quarter < 2 ? low(ql[l]) : high(ql[l])) | (qh[l] >> (2 * quarter) & 3) << 4;
            const int of_16 = 2 * group + l / 16;
            const float scale = d * static_cast<float>(block.scales[of_16]);
            *x++ = scale * static_cast<float>(q - 32);
        }
    }
}

void weights_of(const BlockIQ4_NL& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < 16; ++j) {
        x[j] = d * static_cast<float>(kIQ4Levels[low(block.qs[j])]);
        x[j + 16] = d * static_cast<float>(kIQ4Levels[high(block.qs[j])]);
    }
}

void weights_of(const BlockIQ4_XS& block, float* x) {
    const float d = f16_to_f32(block.d);
    for (int group = 0; group < 8; ++group) {  // of 32 weights
        const std::uint8_t* qs = block.qs + 16 * group;
        const int low_bits = block.scales_l[group / 2] >> (4 * (group % 2)) & 15;
        const int high_bits = block.scales_h >> (2 * group) & 3;
        const float scale = d * static_cast<float>((low_bits | high_bits << 4) - 32);
        for (int j = 0; j < 16; ++j) {
            x[32 * group + j] = scale * static_cast<float>(kIQ4Levels[low(qs[j])]);
            x[32 * group + j + 16] = scale * static_cast<float>(kIQ4Levels[high(qs[j])]);
        }
    }
}

void weights_of(const BlockMXFP4& block, float* x) {
    const float scale = e8m0_to_f32_half(block.e);
    for (int j = 0; j < 16; ++j) {
        x[j] = scale * static_cast<float>(kMXFP4Levels[low(block.qs[j])]);
        x[j + 16] = scale * static_cast<float>(kMXFP4Levels[high(block.qs[j])]);
    }
}

template <class Block>
void each_block(const std::byte* blocks, std::size_t n, std::size_t block_size, float* x) {
    for (std::size_t i = 0; i < n; i += block_size, blocks += sizeof(Block)) {
        Block block;
        std::memcpy(&block, blocks, sizeof block);  // may be unaligned
        weights_of(block, x + i);
    }
}

void each_half(const std::byte* halves, std::size_t n, float (*convert)(std::uint16_t), float* x) {
    for (std::size_t i = 0; i < n; ++i, halves += sizeof(std::uint16_t)) {
        std::uint16_t half;
        std::memcpy(&half, halves, sizeof half);
        x[i] = convert(half);
    }
}

}  // namespace

void dequantise(DType type, const std::byte* blocks, std::size_t n, float* x) {
    switch (type) {
        case DType::kF32: return each_block<float>(blocks, n, 1, x);
        case DType::kF16: return each_half(blocks, n, f16_to_f32, x);
        case DType::kBF16: return each_half(blocks, n, bf16_to_f32, x);
        case DType::kQ4_0: return each_block<BlockQ4_0>(blocks, n, 32, x);
        case DType::kQ4_1: return each_block<BlockQ4_1>(blocks, n, 32, x);
        case DType::kQ5_0: return each_block<BlockQ5_0>(blocks, n, 32, x);
        case DType::kQ5_1: return each_block<BlockQ5_1>(blocks, n, 32, x);
        case DType::kQ8_0: return each_block<BlockQ8_0>(blocks, n, 32, x);
        case DType::kQ2_K: return each_block<BlockQ2_K>(blocks, n, kSuperBlock, x);
        case DType::kQ3_K: return each_block<BlockQ3_K>(blocks, n, kSuperBlock, x);
        case DType::kQ4_K: return each_block<BlockQ4_K>(blocks, n, kSuperBlock, x);
        case DType::kQ5_K: return each_block<BlockQ5_K>(blocks, n, kSuperBlock, x);
        case DType::kQ6_K: return each_block<BlockQ6_K>(blocks, n, kSuperBlock, x);
        case DType::kIQ4_NL: return each_block<BlockIQ4_NL>(blocks, n, 32, x);
        case DType::kIQ4_XS: return each_block<BlockIQ4_XS>(blocks, n, kSuperBlock, x);
        case DType::kMXFP4: return each_block<BlockMXFP4>(blocks, n, 32, x);
    }
}

}  // namespace lfm::cpu
