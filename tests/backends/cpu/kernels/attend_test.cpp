#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/kernels/kernels.h"
#include "tests/backends/cpu/guarded.h"
#include "tests/backends/cpu/naive_weights.h"
#include "tests/backends/cpu/random_blocks.h"

namespace lfm {
namespace {

struct Shape {
    std::uint32_t n_keys, n_heads, head_dim;
};

/// Random queries, and rows of keys and values a little further apart than they are long.
struct Operands {
    Operands(Shape shape, DType k_type, DType v_type, float scale, test::Random& random)
        : shape(shape),
          k_type(k_type),
          v_type(v_type),
          scale(scale),
          q(test::random_floats(shape.n_heads * shape.head_dim, random)),
          k(rows(k_type, random)),
          v(rows(v_type, random)) {}

    std::size_t stride(DType type) const { return row_bytes(type, shape.head_dim) + 6; }

    test::Guarded<std::byte> rows(DType type, test::Random& random) const {
        const std::size_t bytes = row_bytes(type, shape.head_dim);
        test::Guarded<std::byte> all((shape.n_keys - 1) * stride(type) + bytes);
        for (std::uint32_t p = 0; p < shape.n_keys; ++p) {
            const std::vector<std::byte> row = test::random_blocks(type, shape.head_dim, random);
            std::memcpy(all.data() + p * stride(type), row.data(), bytes);
        }
        return all;
    }

    cpu::AttendTile tile(float* out) {
        return {.q = q.data(),
                .n_heads = shape.n_heads,
                .head_dim = shape.head_dim,
                .scale = scale,
                .k = k.data(),
                .k_stride = stride(k_type),
                .v = v.data(),
                .v_stride = stride(v_type),
                .k_type = k_type,
                .v_type = v_type,
                .n_keys = shape.n_keys,
                .out = out};
    }

    /// [n_heads, head_dim]
    std::vector<double> expected() {
        std::vector<double> out(shape.n_heads * shape.head_dim);
        for (std::uint32_t h = 0; h < shape.n_heads; ++h) {
            std::vector<double> weights(shape.n_keys);
            double largest = -INFINITY, total = 0;
            for (std::uint32_t p = 0; p < shape.n_keys; ++p) {
                const auto key = test::naive_weights(k_type, k.data() + p * stride(k_type), shape.head_dim);
                double score = 0;
                for (std::uint32_t i = 0; i < shape.head_dim; ++i) score += q[h * shape.head_dim + i] * key[i];
                weights[p] = score * scale;
                largest = std::max(largest, weights[p]);
            }
            for (double& weight : weights) total += weight = std::exp(weight - largest);
            for (std::uint32_t p = 0; p < shape.n_keys; ++p) {
                const auto value = test::naive_weights(v_type, v.data() + p * stride(v_type), shape.head_dim);
                for (std::uint32_t i = 0; i < shape.head_dim; ++i)
                    out[h * shape.head_dim + i] += weights[p] / total * value[i];
            }
        }
        return out;
    }

    Shape shape;
    DType k_type, v_type;
    float scale;
    test::Guarded<float> q;
    test::Guarded<std::byte> k, v;
};

class Attend : public testing::TestWithParam<std::tuple<const cpu::Kernels*, DType, DType>> {
protected:
    const cpu::Kernels& kernels() const { return *std::get<0>(GetParam()); }
    Operands operands(Shape shape, float scale) {
        return Operands(shape, std::get<1>(GetParam()), std::get<2>(GetParam()), scale, random_);
    }
    double nmse(Operands operands) {
        test::Guarded<float> out(operands.shape.n_heads * operands.shape.head_dim);
        kernels().attend(operands.tile(out.data()));
        const std::vector<double> expected = operands.expected();
        test::Nmse result;
        for (std::size_t i = 0; i < expected.size(); ++i) result.add(out[i], expected[i]);
        return result.value();
    }
    test::Random random_{7};
};

INSTANTIATE_TEST_SUITE_P(All, Attend,
                         testing::Combine(testing::ValuesIn(cpu::available_kernels().begin(),
                                                            cpu::available_kernels().end()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kQ8_0),
                                          testing::Values(DType::kF32, DType::kF16, DType::kQ8_0)),
                         [](const auto& test) {
                             return std::string(std::get<0>(test.param)->name) + "_" +
                                    std::string(dtype_name(std::get<1>(test.param))) + "_" +
                                    std::string(dtype_name(std::get<2>(test.param)));
                         });

TEST_P(Attend, MatchesF64) {
    double largest = 0;
    const std::uint32_t group_sizes[] = {1, 2, 3, 4, 5, 8, cpu::kMaxGroup};
    std::size_t turn = 0;
    for (std::uint32_t n_keys : {1, 2, 63, 64, 65, 127, 128, 129, 1000})
        for (std::uint32_t head_dim : {32u, 64u, 96u, 128u, cpu::kMaxHeadDim}) {
            const Shape shape{n_keys, group_sizes[turn++ % std::size(group_sizes)], head_dim};
            const double error = nmse(operands(shape, 1 / std::sqrt(static_cast<float>(head_dim))));
            EXPECT_LE(error, 1e-6) << n_keys << " keys, " << shape.n_heads << " heads of " << head_dim;
            largest = std::max(largest, error);
        }
    RecordProperty("nmse", std::to_string(std::log10(largest)));
}

/// Scores in the hundreds: one key takes everything, and the running maximum jumps from chunk to chunk.
TEST_P(Attend, SharpSoftmax) {
    for (std::uint32_t n_keys : {2, 65, 300}) EXPECT_LE(nmse(operands({n_keys, 4, 64}, 40)), 1e-6) << n_keys;
}

TEST_P(Attend, EqualScoresGiveTheMean) { EXPECT_LE(nmse(operands({130, 4, 64}, 0)), 1e-6); }

TEST_P(Attend, HeadsDoNotSeeTheirGroup) {
    Operands together = operands({200, 5, 64}, 0.125f);
    std::vector<float> out(5 * 64), alone(5 * 64);
    kernels().attend(together.tile(out.data()));
    for (std::uint32_t h = 0; h < 5; ++h) {
        cpu::AttendTile tile = together.tile(alone.data() + h * 64);
        tile.q += h * 64;
        tile.n_heads = 1;
        kernels().attend(tile);
    }
    for (std::size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(alone[i])) << i;
}

}  // namespace
}  // namespace lfm
