// The AVX-512 kernels on SIMDe's emulation, so that their logic is tested on every machine; and, where both instruction
// sets exist, that AVX-512 and AVX2 give the same bits.
#define LFM_AVX512_SIMDE
#include "backends/cpu/kernels/avx512/float.cpp"
#include "backends/cpu/kernels/avx512/q4_0.cpp"
#include "backends/cpu/kernels/avx512/q4_k.cpp"
#include "backends/cpu/kernels/avx512/q6_k.cpp"

#include <bit>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/backends/cpu/matmul_operands.h"

namespace lfm {
namespace {

struct Emulated {
    DType type;
    void (*run)(const cpu::MatmulTile&);
};

constexpr Emulated kEmulated[] = {
    {DType::kF32, cpu::avx512_simde::matmul_f32},   {DType::kF16, cpu::avx512_simde::matmul_f16},
    {DType::kBF16, cpu::avx512_simde::matmul_bf16}, {DType::kQ4_0, cpu::avx512_simde::matmul_q4_0},
    {DType::kQ8_0, cpu::avx512_simde::matmul_q8_0}, {DType::kQ4_K, cpu::avx512_simde::matmul_q4_k},
    {DType::kQ5_K, cpu::avx512_simde::matmul_q5_k}, {DType::kQ6_K, cpu::avx512_simde::matmul_q6_k},
};

std::string name_of(const testing::TestParamInfo<Emulated>& info) { return std::string(dtype_name(info.param.type)); }

class Avx512 : public testing::TestWithParam<Emulated> {};

INSTANTIATE_TEST_SUITE_P(All, Avx512, testing::ValuesIn(kEmulated), name_of);

TEST_P(Avx512, EmulatedGivesThePortableResult) {
    const DType type = GetParam().type;
    const cpu::MatmulKernel& portable = cpu::portable_kernels().matmul_for(type);
    test::Random random(dtype_info(type).block_bytes);
    for (const test::MatmulCase& shape : test::matmul_cases(type)) {
        test::MatmulOperands operands(shape, test::Rows::kGathered, random);
        std::vector<float> y(shape.n_rows * shape.n_tokens), expected(y.size());
        GetParam().run(operands.tile(y.data(), shape.n_rows));
        portable.run(operands.tile(expected.data(), shape.n_rows));
        const auto exact = operands.expected(portable.activations);
        for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_NEAR(y[i], expected[i], 2e-6 * exact[i].magnitude + 1e-36)
                << shape.n_rows << " rows, " << shape.n_in << " in, " << shape.n_tokens << " tokens: output " << i;
        }
    }
}

TEST_P(Avx512, GivesTheBitsOfAvx2) {
    const cpu::Kernels *avx2 = cpu::avx2_kernels(), *avx512 = cpu::avx512_kernels();
    const DType type = GetParam().type;
    if (!avx512) GTEST_SKIP() << "no AVX-512 here";
    if (avx2->matmul_for(type).activations == cpu::ActivationForm::kF32) return;  // sums of floats, in wider lanes
    test::Random random(dtype_info(type).block_bytes);
    for (const test::MatmulCase& shape : test::matmul_cases(type)) {
        test::MatmulOperands operands(shape, test::Rows::kInOrder, random);
        std::vector<float> y(shape.n_rows * shape.n_tokens), expected(y.size());
        avx512->matmul_for(type).run(operands.tile(y.data(), shape.n_rows));
        avx2->matmul_for(type).run(operands.tile(expected.data(), shape.n_rows));
        for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_EQ(std::bit_cast<std::uint32_t>(y[i]), std::bit_cast<std::uint32_t>(expected[i])) << i;
        }
    }
}

}  // namespace
}  // namespace lfm
