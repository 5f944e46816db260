// The value of one weight by its index, in f64, from the block's raw bytes. Written from the tables of the format,
// sharing nothing with the kernels: no structs, no running pointers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "memory/dtype.h"

namespace lfm::test {

class NaiveBlock {
public:
    explicit NaiveBlock(const std::byte* bytes) : bytes_(bytes) {}

    double value(DType type, int i) const {
        const int j = i % 16, half = i / 16;  // of blocks of 32
        switch (type) {
            case DType::kF32: return f32();
            case DType::kF16: return f16(0);
            case DType::kBF16: return bf16();
            case DType::kQ4_0: return f16(0) * (nibble(2 + j, half) - 8);
            case DType::kQ4_1: return f16(0) * nibble(4 + j, half) + f16(2);
            case DType::kQ5_0: return f16(0) * (nibble(6 + j, half) + 16 * bit(2 + i / 8, i % 8) - 16);
            case DType::kQ5_1: return f16(0) * (nibble(8 + j, half) + 16 * bit(4 + i / 8, i % 8)) + f16(2);
            case DType::kQ8_0: return f16(0) * int8(2 + i);
            case DType::kQ2_K: return q2_k(i);
            case DType::kQ3_K: return q3_k(i);
            case DType::kQ4_K: return q45_scaled(i, nibble(16 + i / 64 * 32 + i % 32, i / 32 % 2));
            case DType::kQ5_K:
                return q45_scaled(i, nibble(48 + i / 64 * 32 + i % 32, i / 32 % 2) + 16 * bit(16 + i % 32, i / 32));
            case DType::kQ6_K: return q6_k(i);
            case DType::kIQ4_NL: return f16(0) * kTable[nibble(2 + j, half)];
            case DType::kIQ4_XS: return iq4_xs(i);
            case DType::kMXFP4: return mxfp4(nibble(1 + j, half));
        }
        return NAN;
    }

private:
    static constexpr int kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

    int byte(int at) const { return std::to_integer<int>(bytes_[at]); }
    int int8(int at) const { return byte(at) < 128 ? byte(at) : byte(at) - 256; }
    int u16(int at) const { return byte(at) + 256 * byte(at + 1); }
    int bits(int at, int shift, int count) const { return byte(at) / (1 << shift) % (1 << count); }
    int bit(int at, int shift) const { return bits(at, shift, 1); }
    int nibble(int at, int high) const { return bits(at, 4 * high, 4); }

    double f32() const {
        float value;
        std::memcpy(&value, bytes_, sizeof value);
        return value;
    }
    double bf16() const {
        const std::uint32_t word = static_cast<std::uint32_t>(u16(0)) * 65536u;
        float value;
        std::memcpy(&value, &word, sizeof value);
        return value;
    }
    /// IEEE 754 binary16, by its definition.
    double f16(int at) const {
        const int word = u16(at), exponent = word / 1024 % 32, mantissa = word % 1024;
        const double sign = word >= 32768 ? -1 : 1;
        if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
        return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
    }

    // i = 128 h + 32 s + l: byte 32 h + l, shift 2 s
    int two_bits(int qs, int i) const { return bits(qs + i / 128 * 32 + i % 32, i % 128 / 32 * 2, 2); }

    double q2_k(int i) const { return f16(80) * nibble(i / 16, 0) * two_bits(16, i) - f16(82) * nibble(i / 16, 1); }

    double q3_k(int i) const {
        const int k = i / 16, scales = 96;
        const int scale = nibble(scales + k % 8, k / 8) + 16 * bits(scales + 8 + k % 4, k / 4 * 2, 2);
        return f16(108) * (scale - 32) * (two_bits(32, i) - (bit(i % 32, i / 32) ? 0 : 4));
    }

    double q45_scaled(int i, int q) const {
        const int k = i / 32, b = 4;
        const int scale = k < 4 ? bits(b + k, 0, 6) : nibble(b + k + 4, 0) + 16 * bits(b + k - 4, 6, 2);
        const int min = k < 4 ? bits(b + k + 4, 0, 6) : nibble(b + k + 4, 1) + 16 * bits(b + k, 6, 2);
        return f16(0) * scale * q - f16(2) * min;
    }

    double q6_k(int i) const {
        const int h = i / 128, quarter = i % 128 / 32, l = i % 32;
        const int low = nibble(64 * h + quarter % 2 * 32 + l, quarter / 2);
        const int high = bits(128 + 32 * h + l, 2 * quarter, 2);
        return f16(208) * int8(192 + 8 * h + 2 * quarter + l / 16) * (low + 16 * high - 32);
    }

    double iq4_xs(int i) const {
        const int g = i / 32;
        const int scale = nibble(4 + g / 2, g % 2) + 16 * bits(2 + g / 4, g % 4 * 2, 2);
        return f16(0) * (scale - 32) * kTable[nibble(8 + 16 * g + i % 16, i / 16 % 2)];
    }

    double mxfp4(int q) const {
        const int magnitudes[8] = {0, 1, 2, 3, 4, 6, 8, 12};
        return std::ldexp(magnitudes[q % 8] * (q < 8 ? 1 : -1), byte(0) - 128);
    }

    const std::byte* bytes_;
};

/// n weights of `type`.
inline std::vector<double> naive_weights(DType type, const std::byte* blocks, std::size_t n) {
    const DTypeInfo& info = dtype_info(type);
    std::vector<double> values(n);
    for (std::size_t i = 0; i < n; ++i) {
        const NaiveBlock block(blocks + i / info.block_size * info.block_bytes);
        values[i] = block.value(type, static_cast<int>(i % info.block_size));
    }
    return values;
}

}  // namespace lfm::test
