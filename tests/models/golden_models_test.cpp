// The forward pass against expected logits: the three bars of the golden data, and equality across threads and batches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "tests/models/golden_models.h"

namespace lfm::test {
namespace {

class GoldenModels : public testing::Test {
protected:
    void SetUp() override {
        if (models_.empty()) GTEST_SKIP() << "golden data absent: set LFM_GOLDEN to its folder";
    }
    std::vector<GoldenModel> models_ = golden_models();
};

TEST_F(GoldenModels, ExactArithmeticGivesTheExpectedLogitsAndExperts) {
    EXPECT_EQ(models_.size(), 17u);
    for (const GoldenModel& golden : models_) {
        SCOPED_TRACE(golden.name);
        const ForwardResult result = forward(golden, {exact_options()});
        ASSERT_EQ(result.logits.size(), golden.logits.size());
        EXPECT_LE(nmse(result.logits, golden.logits), 1e-6);
        EXPECT_EQ(result.routes, golden.routes);
    }
}

TEST_F(GoldenModels, ExactArithmeticIsTheSameTokenByToken) {
    for (const GoldenModel& golden : models_) {
        SCOPED_TRACE(golden.name);
        const ForwardResult batched = forward(golden, {exact_options()});
        for (const std::uint32_t n_batch : {1u, 7u}) {
            SessionOptions options = exact_options();
            options.n_batch = n_batch;
            EXPECT_LE(nmse(forward(golden, {options}).logits, batched.logits), 1e-9) << "n_batch " << n_batch;
        }
    }
}

TEST_F(GoldenModels, FastArithmeticOnDenseFiles) {
    for (const GoldenModel& golden : models_) {
        if (!golden.routes.empty()) continue;
        const double limit = golden.name.find("-F16") != std::string::npos ? 5e-6 : 1.25 * golden.other_nmse;
        for (const cpu::Kernels* kernels : cpu::available_kernels()) {
            SCOPED_TRACE(golden.name + " " + std::string(kernels->name));
            EXPECT_LE(nmse(forward(golden, {SessionOptions{.kernels = kernels}}).logits, golden.logits), limit);
        }
    }
}

TEST_F(GoldenModels, FastArithmeticOnMoeFilesWithGoldenRoutes) {
    for (const GoldenModel& golden : models_) {
        if (golden.routes.empty()) continue;
        for (const cpu::Kernels* kernels : cpu::available_kernels()) {
            SCOPED_TRACE(golden.name + " " + std::string(kernels->name));
            const ForwardResult forced = forward(golden, {SessionOptions{.kernels = kernels}, Routing::kGolden});
            EXPECT_LE(nmse(forced.logits, golden.logits), 0.005);
            EXPECT_EQ(forced.routes, golden.routes);
        }
        std::cout << golden.name << " unforced: nmse " << nmse(forward(golden, {}).logits, golden.logits) << '\n';
    }
}

TEST_F(GoldenModels, AnyNumberOfThreadsGivesTheSameBits) {
    for (const GoldenModel& golden : models_) {
        for (const cpu::Kernels* kernels : cpu::available_kernels()) {
            SCOPED_TRACE(golden.name + " " + std::string(kernels->name));
            const ForwardResult one = forward(golden, {SessionOptions{.n_threads = 1, .kernels = kernels}});
            for (const std::uint32_t n_threads : {2u, 8u}) {
                const ForwardResult many =
                    forward(golden, {SessionOptions{.n_threads = n_threads, .kernels = kernels}});
                EXPECT_EQ(one.logits, many.logits) << n_threads << " threads";
            }
        }
    }
}

/// Every prompt length from 1 on, a second request after each: to 513 with LFM_FULL=1.
TEST_F(GoldenModels, EveryPromptLengthOnTheSmallest) {
    const GoldenModel& golden = models_.front();
    const std::size_t longest = std::getenv("LFM_FULL") != nullptr ? 513 : 30;
    Ledger ledger;
    GgufFile file = GgufFile::open(golden.path);
    const ModelDescription description = describe_model(file);
    const Model model = Model::load(std::move(file), description, make_host_plan(description, {}), ledger);
    Session session(model, {.n_ctx = 514, .n_batch = 512, .n_outputs = 512, .n_threads = 2}, ledger);
    std::vector<std::int32_t> tokens;
    while (tokens.size() <= longest) tokens.push_back(golden.tokens[tokens.size() % golden.tokens.size()]);
    std::vector<float> expected;  // row i: logits after i + 1 tokens
    session.append_all(tokens, [&](std::size_t, std::span<const float> rows) {
        expected.insert(expected.end(), rows.begin(), rows.end());
    });
    const auto row = [&](std::size_t i) {
        return std::span(expected).subspan(i * session.n_vocab(), session.n_vocab());
    };
    for (std::size_t n = 1; n <= longest; ++n)
        for (int request = 0; request < 2; ++request) {
            session.reset();
            ASSERT_TRUE(std::ranges::equal(session.append(std::span(tokens).first(n)), row(n - 1))) << n << " tokens";
            ASSERT_TRUE(std::ranges::equal(session.append(std::span(tokens).subspan(n, 1)), row(n)))
                << n << " tokens and one";
        }
}

TEST_F(GoldenModels, CacheTypes) {
    for (const GoldenModel& golden : models_) {
        if (golden.name != "tiny-F16.gguf") continue;
        SessionOptions options = exact_options();
        options.kv = {DType::kF16, DType::kF16};
        EXPECT_LE(nmse(forward(golden, {options}).logits, golden.logits), 1e-6);
        options.kv = {DType::kQ8_0, DType::kQ8_0};
        EXPECT_LE(nmse(forward(golden, {options}).logits, golden.logits), 2e-3);
    }
}

}  // namespace
}  // namespace lfm::test
