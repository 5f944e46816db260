// Operands made from a seed, cheaply: noise for activations, and one pool of blocks per weight type, from which each
// case cuts its matrices, so that a type is dequantised once.
#pragma once

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "memory/split_mix.h"
#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm::operation_cases {

/// The same numbers on every machine.
class Noise {
public:
    explicit Noise(std::uint64_t seed) : state_(seed * kSplitMixStep + 1) {}

    std::uint64_t bits() { return split_mix(state_); }
    std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>((bits() >> 32) * end >> 32); }

    /// Nearly normal, of this standard deviation: a sum of four uniform values.
    float value(float spread = 1) {
        const std::uint64_t four = bits();
        const std::uint64_t sum = (four & 0xffff) + (four >> 16 & 0xffff) + (four >> 32 & 0xffff) + (four >> 48);
        return (static_cast<float>(sum) - 131070.0f) * (spread * 2.6428e-5f);  // sqrt(3) / 65536
    }
    std::vector<float> values(std::size_t n, float spread = 1) {
        std::vector<float> values(n);
        for (float& each : values) each = value(spread);
        return values;
    }

    /// Inputs of matmuls: now and then a block of 32 is zero or tiny, and no value lies so close to the middle between
    /// two quantised ones that a last bit in the division decides.
    std::vector<float> activations(std::size_t n, float spread = 1) {
        std::vector<float> values = this->values(n, spread);
        for (std::size_t begin = 0; begin + 32 <= n; begin += 32) {
            const std::span<float> block = std::span(values).subspan(begin, 32);
            const std::uint32_t kind = below(64);
            if (kind < 2)
                for (float& each : block) each *= kind == 0 ? 0.0f : 0x1p-130f;
            keep_off_middles(block);
        }
        return values;
    }

private:
    static void keep_off_middles(std::span<float> block) {
        float largest = 0;
        for (const float each : block) largest = std::fmax(largest, std::fabs(each));
        const double step = double{largest} / 127;
        if (step < FLT_MIN) return;
        for (float& each : block) {
            const double level = std::floor(each / step);
            if (std::fabs(each / step - level - 0.5) < 0.001) each = static_cast<float>((level + 0.25) * step);
        }
    }

    std::uint64_t state_;
};

/// A matrix in file blocks, and its values.
struct Matrix {
    std::span<const std::byte> blocks;
    std::span<const double> values;
};

class WeightPools {
public:
    /// n weights from a place in the pool that `noise` chooses; at most kPoolWeights.
    Matrix cut(DType type, std::size_t n, Noise& noise) {
        const Pool& pool = of(type);
        const std::size_t first = noise.below(static_cast<std::uint32_t>((kPoolWeights - n) / kSuper + 1)) * kSuper;
        return {std::span(pool.blocks).subspan(row_bytes(type, first), row_bytes(type, n)),
                std::span(pool.values).subspan(first, n)};
    }

private:
    static constexpr std::size_t kPoolWeights = std::size_t{1} << 19;
    static constexpr std::size_t kSuper = 256;  // a multiple of every block size

    struct Pool {
        std::vector<std::byte> blocks;
        std::vector<double> values;
    };

    const Pool& of(DType type) {
        const auto [at, is_new] = pools_.try_emplace(type);
        if (is_new) {
            test::Random random(static_cast<std::uint32_t>(type));
            at->second.blocks = test::random_blocks(type, kPoolWeights, random);
            at->second.values = test::naive_weights(type, at->second.blocks.data(), kPoolWeights);
        }
        return at->second;
    }

    std::map<DType, Pool> pools_;
};

}  // namespace lfm::operation_cases
