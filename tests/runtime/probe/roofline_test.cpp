// What kernels are measured against, and which matrices. How fast anything is depends on the machine: not tested.
#include "runtime/probe/roofline.h"

#include <algorithm>
#include <atomic>

#include <gtest/gtest.h>

#include "backends/cpu/kernels/streams.h"
#include "memory/error.h"
#include "planner/model/shape.h"
#include "runtime/machine/side_by_side.h"

namespace lfm {
namespace {

TEST(Roofline, TakesEachMatrixOfAModelOnce) {
    const auto of = [](const char* shape) { return roofline_matrices(describe_shape(shape)); };
    const std::vector<RooflineMatrix> dense{{DType::kQ8_0, 1024, 1024},
                                            {DType::kQ8_0, 1024, 3072},
                                            {DType::kQ8_0, 1024, 4000},
                                            {DType::kQ8_0, 1024, 4096},
                                            {DType::kQ8_0, 4096, 1024}};
    EXPECT_EQ(of("lfm2,n_layer=4,n_embd=1024,n_head=16,n_head_kv=8,n_ff=4096,n_vocab=4000,attention=2:Q8_0"), dense);
    // An expert's, not the router's: the time of a small matrix would not be that of a matmul.
    const auto moe = of("lfm2-24b-a2b:Q4_0");
    EXPECT_EQ(std::ranges::count(moe, RooflineMatrix{DType::kQ4_0, 2048, 1536}), 1);
    EXPECT_EQ(std::ranges::count(moe, RooflineMatrix{DType::kQ4_0, 1536, 2048}), 1);
    EXPECT_EQ(std::ranges::count_if(moe, [](const RooflineMatrix& matrix) { return matrix.n_out < 1024; }), 0);
    EXPECT_TRUE(of("lfm2:Q4_0").empty());
}

TEST(Roofline, MeasuresEveryMatrixAndBatch) {
    std::vector<RooflineResult> results;
    measure_roofline({.matrices = {{DType::kQ4_0, 512, 256}, {DType::kF16, 256, 512}},
                      .batches = {1, 5},
                      .n_threads = 2,
                      .repetitions = 2,
                      .memory = 1 << 20},
                     [&](const RooflineResult& result) { results.push_back(result); });
    ASSERT_EQ(results.size(), 4u);
    EXPECT_EQ(results[1].n_tokens, 5u);
    EXPECT_EQ(results[2].matrix, (RooflineMatrix{DType::kF16, 256, 512}));
    for (const RooflineResult& result : results) EXPECT_GT(result.rate, 0);
    EXPECT_GT(results[0].limit, 0);
    EXPECT_GT(results[0].share, 0);
}

TEST(Roofline, EndsWhenAsked) {
    const std::atomic<bool> stop = true;
    EXPECT_THROW(measure_roofline({.matrices = {{DType::kQ4_0, 512, 256}}, .batches = {5}, .stop = &stop},
                                  [](const RooflineResult&) { ADD_FAILURE(); }),
                 Error);
}

TEST(Roofline, KernelsOfTheirOwnHaveAStream) {
    for (const cpu::Kernels* kernels : cpu::available_kernels()) {
        const bool plain = kernels == &cpu::exact_kernels() || kernels == &cpu::portable_kernels();
        for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ8_0, DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K}) {
            const cpu::MultiplyStream stream = cpu::multiply_stream(*kernels, type);
            EXPECT_EQ(stream.multiply_adds == 0, plain) << kernels->name << ' ' << dtype_name(type);
            if (stream.multiply_adds > 0) stream.run(3);
        }
        EXPECT_EQ(cpu::multiply_stream(*kernels, DType::kIQ4_NL).multiply_adds, 0u);
    }
}

TEST(SideBySide, RunsEveryThreadOnce) {
    for (const std::uint32_t n_threads : {1u, 2u, 5u}) {
        std::vector<int> runs(n_threads);
        EXPECT_GT(seconds_side_by_side(n_threads, [&](std::uint32_t i) { ++runs[i]; }), 0);
        EXPECT_EQ(runs, std::vector<int>(n_threads, 1));
    }
}

}  // namespace
}  // namespace lfm
