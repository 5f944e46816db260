// Durations of operations, compared with the planner's formulas written out.
#include "backends/sim/sim_rates.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/backends/step_sequence.h"

namespace lfm::test {
namespace {

constexpr std::size_t kQ4 = static_cast<std::size_t>(DType::kQ4_0), kF16 = static_cast<std::size_t>(DType::kF16);

sim::SimRates plain_rates() {
    sim::SimRates rates;
    rates.matvec_seconds_per_byte[kQ4] = 1e-9;
    rates.gemm_seconds_per_flop[kQ4] = 1e-12;
    rates.gemm_seconds_per_flop[kF16] = 3e-12;
    rates.attention_seconds_per_byte = 2e-9;
    rates.operation_seconds = 1e-6;
    rates.copy_seconds = 5e-6;
    rates.h2d_seconds_per_byte = 4e-11;
    return rates;
}

WeightView weight(std::uint32_t n_out, std::uint32_t n_in) {
    return {nullptr, DType::kQ4_0, n_out, n_in, row_bytes(DType::kQ4_0, n_in)};
}

double seconds(const Operation& operation, const StepParams& step, std::vector<std::uint32_t> tokens_of_expert = {}) {
    return sim::operation_seconds(plain_rates(), operation, step, tokens_of_expert);
}

TEST(SimRates, AMatrixIsReadOnceForOneToken) {
    MatmulArgs args{.outputs = {MatmulOutput{weight(256, 64), {}}, MatmulOutput{weight(32, 64), {}}}, .n_outputs = 2};
    const StepParams one{.n_tokens = 1, .n_outputs = 1};
    EXPECT_DOUBLE_EQ(seconds(args, one), 1e-6 + (256 + 32) * 36 * 1e-9);
    EXPECT_DOUBLE_EQ(seconds(RouteArgs{.router = weight(32, 64)}, one), 1e-6 + 32 * 36 * 1e-9);
}

TEST(SimRates, ForManyTokensBytesOrSumsCount) {
    MatmulArgs args{.outputs = {MatmulOutput{weight(256, 64), {}}}, .n_outputs = 1};
    const double bytes = 256 * 36 * 1e-9;
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 2}), 1e-6 + bytes);
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 512}), 1e-6 + 2.0 * 512 * 256 * 64 * 1e-12);
    args.rows = RowSet::kOutputs;
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 512, .n_outputs = 1}), 1e-6 + bytes);
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 512, .n_outputs = 0}), 1e-6);
}

TEST(SimRates, AttentionReadsTheCacheOrMultiplies) {
    StepSequence sequence;
    const auto step = [&](std::uint32_t n_tokens, std::uint32_t position) {
        StepParams params{.n_tokens = n_tokens};
        follow(params, sequence, position);
        return params;
    };
    const KvView cache{.k_type = DType::kF16, .v_type = DType::kQ8_0, .n_head_kv = 2, .head_dim = 64};
    const AttentionArgs args{.q = {nullptr, 512}, .cache = cache};
    EXPECT_DOUBLE_EQ(seconds(args, step(1, 99)), 1e-6 + (256 + 136) * 100 * 2e-9);
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 128}), 1e-6 + 4.0 * 128 * 64 * 512 * 3e-12);
    EXPECT_DOUBLE_EQ(seconds(args, step(128, 1000)), 1e-6 + 4.0 * 128 * 1064 * 512 * 3e-12);
}

TEST(SimRates, ExpertsCountThatHaveTokens) {
    const ExpertFfnArgs args{
        .x = {nullptr, 64}, .gate_type = DType::kQ4_0, .up_type = DType::kQ4_0, .down_type = DType::kQ4_0, .n_ff = 96};
    const double bytes = (96 * 36 * 2 + 64 * 54) * 1e-9;
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 1}, {0, 1, 0, 1}), 1e-6 + 2 * bytes);
    EXPECT_DOUBLE_EQ(seconds(args, {.n_tokens = 1}, {0, 0, 0, 0}), 1e-6);
    // Tiles of 64 tokens: 100 tokens take as long as 128.
    const double sums_64 = 3 * 2.0 * 64 * 96 * 64 * 1e-12;
    EXPECT_NEAR(seconds(args, {.n_tokens = 5000}, {1, 64, 0, 4000}),
                1e-6 + 2 * std::max(bytes, sums_64) + std::max(bytes, 63 * sums_64), 1e-15);
}

TEST(SimRates, TheRestTakesAnOperationAndACopyItsLatencyAndBytes) {
    EXPECT_DOUBLE_EQ(seconds(AddArgs{}, {.n_tokens = 512}), 1e-6);
    EXPECT_DOUBLE_EQ(sim::copy_seconds(plain_rates(), 1000), 5e-6 + 1000 * 4e-11);
    EXPECT_DOUBLE_EQ(sim::copy_seconds(plain_rates(), 0), 0);
    EXPECT_STREQ(sim::operation_name(ExpertFfnArgs{}), "expert_ffn");
    EXPECT_STREQ(sim::operation_name(CopyArgs{}), "copy");
    EXPECT_STREQ(sim::operation_name(ShortConvArgs{}), "short_conv");
}

}  // namespace
}  // namespace lfm::test
