// Steps of many sequences on the CPU: each row gets the bits that it gets when its sequence is alone.
#include "tests/backends/operation_cases/batch.h"

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"

namespace lfm::operation_cases {
namespace {

class BatchOperations : public testing::TestWithParam<std::tuple<const cpu::Kernels*, DType>> {
protected:
    Ledger ledger_;
    std::unique_ptr<Backend> backend_ =
        cpu::make_cpu_backend({.kernels = std::get<0>(GetParam()), .n_threads = 2, .limits = kBatchLimits}, ledger_);
    HostPlace place_;
    BatchTarget target_{*backend_, place_, std::get<1>(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(Kernels, BatchOperations,
                         testing::Combine(testing::ValuesIn(cpu::available_kernels().begin(),
                                                            cpu::available_kernels().end()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kQ8_0)),
                         [](const auto& test) {
                             return std::string(std::get<0>(test.param)->name) + "_" +
                                    std::string(dtype_name(std::get<1>(test.param)));
                         });

TEST_P(BatchOperations, SequencesAreAsAlone) { check_that_sequences_are_as_alone(target_); }
TEST_P(BatchOperations, OthersGoOnFromAnyToken) { check_that_others_go_on_from_any_token(target_); }

TEST(BatchSteps, WhatIsNobodysIsRefused) {
    const BackendLimits limits{.n_batch = 8, .n_ctx = 64, .n_sequences = 2};
    const auto refused = [&](std::vector<StepSequence> sequences) {
        StepParams step;
        step.n_tokens = 4;
        step.sequences = sequences;
        try {
            check_step(step, limits, "step");
        } catch (const Error& error) {
            return error.code() == ErrorCode::kUsage;
        }
        return false;
    };
    EXPECT_FALSE(refused({{.n_rows = 4}}));
    EXPECT_FALSE(refused({{.n_rows = 1}, {.first_row = 1, .n_rows = 3}}));
    EXPECT_TRUE(refused({{.n_rows = 3}})) << "a row is nobody's";
    EXPECT_TRUE(refused({{.n_rows = 3}, {.first_row = 2, .n_rows = 2}})) << "a row is two's";
    EXPECT_TRUE(refused({{.n_rows = 4}, {.first_row = 4, .n_rows = 0}})) << "without rows";
    EXPECT_TRUE(refused({{.n_rows = 2}, {.first_row = 2, .n_rows = 1}, {.first_row = 3, .n_rows = 1}})) << "three";
    EXPECT_TRUE(refused({{.n_rows = 4, .position = 61}})) << "beyond the context";
    EXPECT_TRUE(refused({{.n_rows = 4, .n_replayed = 5}})) << "more done again than there are";
}

}  // namespace
}  // namespace lfm::operation_cases
