// The session on small random models: repeatable, restorable, interruptible, and quiet about memory.
#include "runtime/session/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <optional>

#include "memory/error.h"
#include "planner/model/shape.h"
#include "tests/allocation_counter.h"

namespace lfm::test {
namespace {

constexpr const char* kDense = "lfm2,n_layer=3,n_embd=128,n_head=2,n_head_kv=1,n_ff=160,n_vocab=300,attention=1:Q4_0";
constexpr const char* kMoe = "lfm2moe,n_layer=4,n_embd=128,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=64,n_vocab=300:Q8_0";

std::vector<std::int32_t> some_tokens(std::size_t n, std::uint32_t seed = 1) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((seed + i * 7919) % 300));
    return tokens;
}

/// A model with everything around it that must outlive a session.
struct Fixture {
    explicit Fixture(const char* shape)
        : description(describe_shape(shape)),
          model(Model::random(description, make_host_plan(description, {}), 3, ledger)) {}

    Session session(SessionOptions options) {
        if (options.n_ctx == 0) options.n_ctx = 600;
        return Session(model, options, ledger);
    }

    Ledger ledger;
    ModelDescription description;
    Model model;
};

std::vector<float> copy(std::span<const float> logits) { return {logits.begin(), logits.end()}; }

class SessionTest : public testing::TestWithParam<const char*> {
protected:
    Fixture fixture_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Shapes, SessionTest, testing::Values(kDense, kMoe),
                         [](const auto& shape) { return shape.index == 0 ? "dense" : "moe"; });

TEST_P(SessionTest, LogitsAreFiniteAndDependOnTheInput) {
    Session session = fixture_.session({});
    const auto first = copy(session.append(some_tokens(5)));
    for (const float logit : first) ASSERT_TRUE(std::isfinite(logit));
    session.reset();
    EXPECT_NE(copy(session.append(some_tokens(5, 2))), first);
}

TEST_P(SessionTest, ASecondRequestGivesTheSameBits) {
    Session session = fixture_.session({.n_batch = 16});
    const auto first = copy(session.append(some_tokens(94)));
    session.reset();
    EXPECT_EQ(copy(session.append(some_tokens(94))), first);
}

TEST_P(SessionTest, AnyNumberOfThreadsGivesTheSameBits) {
    std::optional<std::vector<float>> expected;
    for (const std::uint32_t n_threads : {1u, 2u, 3u, 8u}) {
        Session session = fixture_.session({.n_threads = n_threads});
        const auto logits = copy(session.append(some_tokens(130)));
        if (!expected) expected = logits;
        EXPECT_EQ(logits, *expected) << n_threads << " threads";
    }
}

TEST_P(SessionTest, BatchesAndSingleTokensAgree) {
    SessionOptions exact{.kv = {DType::kF32, DType::kF32}, .kernels = &cpu::exact_kernels()};
    Session whole = fixture_.session(exact);
    exact.n_batch = 1;
    Session single = fixture_.session(exact);
    EXPECT_EQ(copy(whole.append(some_tokens(37))), copy(single.append(some_tokens(37))));
}

TEST_P(SessionTest, AStepAllocatesNothing) {
    Session session = fixture_.session({.n_batch = 32, .n_threads = 2});
    session.append(some_tokens(40));  // the first steps start oneTBB's threads
    session.append(some_tokens(1));
    const auto tokens = some_tokens(64);
    const AllocationCounter counter;
    session.append(tokens);
    session.append(std::span(tokens).first(1));
    EXPECT_EQ(counter.calls(), 0u);
}

TEST_P(SessionTest, ACheckpointBringsBackTheState) {
    Session session = fixture_.session({});
    session.append(some_tokens(20));
    const Checkpoint checkpoint = session.checkpoint();
    const auto expected = copy(session.append(some_tokens(3, 5)));
    session.append(some_tokens(30, 9));
    session.restore(checkpoint);
    EXPECT_EQ(session.position(), 20u);
    EXPECT_EQ(copy(session.append(some_tokens(3, 5))), expected);
    EXPECT_EQ(session.tokens().size(), 23u);
}

TEST_P(SessionTest, AnInterruptedStepLeavesTheStateAsItWas) {
    Session session = fixture_.session({.n_batch = 64});
    session.append(some_tokens(10));
    std::atomic<bool> stop = true;
    session.set_stop_flag(&stop);
    try {
        session.append(some_tokens(20, 4));
        FAIL() << "expected an interruption";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    }
    stop = false;
    const auto after = copy(session.append(some_tokens(20, 4)));
    session.reset();
    session.append(some_tokens(10));
    EXPECT_EQ(copy(session.append(some_tokens(20, 4))), after);
}

TEST_P(SessionTest, BadTokensAndAFullContextAppendNothing) {
    Session session = fixture_.session({.n_ctx = 16});
    const auto code_of = [&](const std::vector<std::int32_t>& tokens) {
        try {
            session.append(tokens);
        } catch (const Error& error) {
            return std::optional(error.code());
        }
        return std::optional<ErrorCode>();
    };
    EXPECT_EQ(code_of({}), ErrorCode::kInvalidInput);
    EXPECT_EQ(code_of({1, -1}), ErrorCode::kInvalidInput);
    EXPECT_EQ(code_of({1, 300}), ErrorCode::kInvalidInput);
    EXPECT_EQ(code_of(some_tokens(17)), ErrorCode::kContextFull);
    EXPECT_EQ(session.position(), 0u);
    EXPECT_FALSE(code_of(some_tokens(16)));
    EXPECT_EQ(code_of({1}), ErrorCode::kContextFull);
}

TEST_P(SessionTest, OptionsOutOfRangeAreNamed) {
    for (const SessionOptions& options :
         {SessionOptions{.n_ctx = 8, .n_threads = 0}, SessionOptions{.n_ctx = 8, .n_batch = 0},
          SessionOptions{.n_ctx = 8, .kv = {DType::kQ4_0, DType::kF16}}}) {
        try {
            fixture_.session(options);
            FAIL() << "expected a refusal";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kUsage) << error.what();
        }
    }
}

TEST_P(SessionTest, TheLedgerKnowsWhatIsHeldAndForgetsWhatIsFreed) {
    const Bytes before = fixture_.ledger.total(kHost);
    {
        Session session = fixture_.session({});
        EXPECT_GT(fixture_.ledger.total(kHost, Purpose::kKvCache).value, 0u);
        EXPECT_GT(fixture_.ledger.total(kHost), before);
    }
    EXPECT_EQ(fixture_.ledger.total(kHost), before);
}

/// Every prompt length on a small model, and a second request after each. Long: runs with LFM_FULL=1.
TEST_P(SessionTest, EveryPromptLength) {
    const bool full = std::getenv("LFM_FULL") != nullptr;
    const std::size_t longest = full ? 513 : 40;
    const auto tokens = some_tokens(longest + 1);
    Session session = fixture_.session({.n_batch = 128, .n_outputs = 128, .n_threads = 2});
    // Row i: logits after i + 1 tokens, computed in one go.
    std::vector<std::vector<float>> expected;
    session.append_all(tokens, [&](std::size_t, std::span<const float> rows) {
        for (std::size_t at = 0; at < rows.size(); at += session.n_vocab())
            expected.push_back(copy(rows.subspan(at, session.n_vocab())));
    });
    for (std::size_t n = 1; n <= longest; ++n) {
        for (int request = 0; request < 2; ++request) {
            session.reset();
            ASSERT_EQ(copy(session.append(std::span(tokens).first(n))), expected[n - 1]) << n << " tokens";
            ASSERT_EQ(copy(session.append(std::span(tokens).subspan(n, 1))), expected[n]) << n << " tokens and one";
        }
    }
}

}  // namespace
}  // namespace lfm::test
