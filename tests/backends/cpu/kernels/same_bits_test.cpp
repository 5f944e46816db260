// Every table with kernels of its own gives the same bits for quantised weights, on every processor: hashes of its
// results beside recorded ones. A change of the order of sums, on purpose, changes them in all tables alike.
#include <bit>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "memory/fnv1a.h"
#include "tests/backends/cpu/matmul_operands.h"

namespace lfm::test {
namespace {

struct Recorded {
    DType type;
    std::uint64_t hash;
};
constexpr Recorded kRecorded[] = {
    {DType::kQ4_0, 0xcb8d21bdae1b5d65}, {DType::kQ8_0, 0x671230a7d3752a1},  {DType::kQ4_K, 0xf6fbceab3b2e692f},
    {DType::kQ5_K, 0x3f4246ba17c645ae}, {DType::kQ6_K, 0xa4bfb3b8b632d4ee},
};

/// Of results for few and many tokens, with rows and tokens that fill no tile.
std::uint64_t hash_of(const cpu::Kernels& kernels, DType type) {
    Fnv1a hash;
    Random random(7);
    for (const std::uint32_t n_tokens : {1u, 3u, 5u, 131u}) {
        MatmulOperands operands({type, 37, 768, n_tokens}, Rows::kInOrder, random);
        std::vector<float> y(std::size_t{37} * n_tokens);
        kernels.matmul_for(type).run(operands.tile(y.data(), 37));
        for (const float value : y) hash.add(std::bit_cast<std::uint32_t>(value));
    }
    return hash.value();
}

class SameBits : public testing::TestWithParam<Recorded> {};

std::string name_of(const testing::TestParamInfo<Recorded>& info) { return std::string(dtype_name(info.param.type)); }
INSTANTIATE_TEST_SUITE_P(All, SameBits, testing::ValuesIn(kRecorded), name_of);

TEST_P(SameBits, OnEveryProcessor) {
    int n_tables = 0;
    for (const cpu::Kernels* kernels : {cpu::avx2_kernels(), cpu::avx512_kernels(), cpu::neon_kernels()}) {
        if (kernels == nullptr) continue;
        ++n_tables;
        EXPECT_EQ(hash_of(*kernels, GetParam().type), GetParam().hash)
            << kernels->name << std::hex << " 0x" << hash_of(*kernels, GetParam().type);
    }
    if (n_tables == 0) GTEST_SKIP() << "no table but the plain ones here";
}

}  // namespace
}  // namespace lfm::test
