// Random weights and activations: any bits in the quants, scales of either sign, some of them zero or subnormal.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "memory/dtype.h"
#include "memory/half.h"

namespace lfm::test {

using Random = std::mt19937;

inline float normal(Random& random) {
    // Not std::normal_distribution: the same numbers with every standard library. A sum of uniforms is close enough.
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random()) / 4294967296.0;
    return static_cast<float>(sum);
}

inline std::vector<float> random_floats(std::size_t n, Random& random) {
    std::vector<float> values(n);
    for (float& value : values) value = normal(random);
    return values;
}

/// f16 bits of a scale: 1 of 16 zero, 1 of 16 subnormal, otherwise from 2^-11 to below 2^-3, of either sign.
inline std::uint16_t random_scale(Random& random) {
    const std::uint16_t sign = static_cast<std::uint16_t>(random() & 0x8000u);
    const std::uint32_t kind = random() % 16;
    if (kind == 0) return sign;
    if (kind == 1) return sign | static_cast<std::uint16_t>(random() % 0x400u);
    return sign | static_cast<std::uint16_t>((4 + random() % 8) << 10 | random() % 0x400u);
}

/// Offsets of the f16 fields in a block; -1: none.
struct ScaleOffsets {
    int first = -1, second = -1;
};

inline ScaleOffsets scale_offsets(DType type) {
    switch (type) {
        case DType::kQ4_0:
        case DType::kQ5_0:
        case DType::kQ8_0:
        case DType::kIQ4_NL:
        case DType::kIQ4_XS: return {0, -1};
        case DType::kQ4_1:
        case DType::kQ5_1:
        case DType::kQ4_K:
        case DType::kQ5_K: return {0, 2};
        case DType::kQ2_K: return {80, 82};
        case DType::kQ3_K: return {108, -1};
        case DType::kQ6_K: return {208, -1};
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16:
        case DType::kMXFP4: return {};
    }
    return {};
}

/// Blocks of n weights, n a multiple of the block size.
inline std::vector<std::byte> random_blocks(DType type, std::size_t n, Random& random) {
    std::vector<std::byte> bytes(row_bytes(type, n));
    const auto put16 = [&bytes](std::size_t at, std::uint16_t value) { std::memcpy(&bytes[at], &value, sizeof value); };
    if (type == DType::kF32) {
        const std::vector<float> values = random_floats(n, random);
        if (n > 0) std::memcpy(bytes.data(), values.data(), bytes.size());
        return bytes;
    }
    if (type == DType::kF16 || type == DType::kBF16) {
        for (std::size_t i = 0; i < n; ++i) {
            const float value = normal(random);
            const std::uint16_t bf16 = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
            put16(2 * i, type == DType::kBF16 ? bf16 : random() % 16 == 0 ? random_scale(random) : f32_to_f16(value));
        }
        return bytes;
    }
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 255u);
    const ScaleOffsets offsets = scale_offsets(type);
    const std::size_t block_bytes = dtype_info(type).block_bytes;
    for (std::size_t block = 0; block < bytes.size(); block += block_bytes) {
        if (offsets.first >= 0) put16(block + static_cast<std::size_t>(offsets.first), random_scale(random));
        if (offsets.second >= 0) put16(block + static_cast<std::size_t>(offsets.second), random_scale(random));
        // Scales of the doubled levels: 2^-12 to 2^-4, now and then 2^-128 to 2^-126, two of which are subnormal.
        if (type == DType::kMXFP4)
            bytes[block] = static_cast<std::byte>(random() % 16 == 0 ? random() % 3 : 116 + random() % 9);
    }
    return bytes;
}

/// Σ (a - b)² / Σ b², added up over any number of comparisons.
class Nmse {
public:
    void add(double value, double reference) {
        difference_ += (value - reference) * (value - reference);
        norm_ += reference * reference;
    }
    double value() const { return difference_ == 0 ? 0 : difference_ / norm_; }

private:
    double difference_ = 0, norm_ = 0;
};

}  // namespace lfm::test
