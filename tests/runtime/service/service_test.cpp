// Many requests at once: each gets what it gets alone, whoever shares its steps, and whatever happens to the others.
#include "runtime/service/service.h"

#include <gtest/gtest.h>

#include <future>
#include <random>

#include "backends/sim/sim_device.h"
#include "memory/error.h"
#include "runtime/session/generator.h"
#include "tests/runtime/random_placement.h"
#include "tests/runtime/tiny_model.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

using Tokens = std::vector<std::int32_t>;

SessionOptions options(std::uint32_t n_sequences, std::uint32_t n_shared_ctx = 0) {
    return {.n_ctx = 400,
            .n_batch = 64,
            .n_outputs = n_sequences,
            .n_threads = 2,
            .n_sequences = n_sequences,
            .n_saved = n_sequences > 1 ? 8u : 0u,
            .n_shared_ctx = n_shared_ctx};
}

struct Outcome {
    std::future<Generation> generation;
    RequestId id = 0;
};

class ServiceTest : public testing::Test {
protected:
    void serve(std::uint32_t n_sequences, std::uint32_t n_shared_ctx = 0, PromptStore* store = nullptr) {
        service_.reset();
        runner_.emplace(model_.model, options(n_sequences, n_shared_ctx), ledger_);
        service_.emplace(*runner_, model_.tokenizer, ServiceOptions{.rate = StepRate(0, 1e-4), .store = store});
    }

    Outcome submit(ServiceRequest request, SegmentSink text = {}) {
        const auto promise = std::make_shared<std::promise<Generation>>();
        Outcome outcome{promise->get_future()};
        outcome.id = service_->submit(
            std::move(request),
            {.text = std::move(text),
             .done = [promise](Generation generation) { promise->set_value(std::move(generation)); },
             .failed = [promise](const Error& error) { promise->set_exception(std::make_exception_ptr(error)); }});
        return outcome;
    }

    Tokens prompt(std::uint32_t seed) const {
        Tokens tokens;
        const std::uint32_t n_shared = seed % 3 * 60, n = 1 + seed * 37 % 150;
        const auto n_vocab = model_.model.hyper().n_vocab;
        for (std::uint32_t i = 0; i < n_shared; ++i)
            tokens.push_back(static_cast<std::int32_t>((i * 17 + 3) % n_vocab));
        for (std::uint32_t i = 0; i < n; ++i)
            tokens.push_back(static_cast<std::int32_t>((i * 7919 + seed * 131) % n_vocab));
        return tokens;
    }
    ServiceRequest request(std::uint32_t seed) const {
        ServiceRequest request{.prompt = prompt(seed)};
        request.options.sampling.temperature = seed % 2 == 0 ? 0 : 1.5f;
        request.options.sampling.seed = seed;
        request.options.n_predict = 5 + seed % 40;
        return request;
    }
    Generation alone(const ServiceRequest& request) {
        Session session(model_.model, options(1), ledger_);
        return Generator(session, model_.tokenizer).complete(request.prompt, request.options, {});
    }

    TinyModel model_{};
    Ledger ledger_;
    std::optional<Runner> runner_;
    std::optional<Service> service_;
};

TEST_F(ServiceTest, AStoredPromptIsNotComputedAgain) {
    const ScratchDir dir;
    const ServiceRequest wanted = request(4);
    const std::size_t n_prompt = wanted.prompt.size();
    ASSERT_GT(n_prompt, 100u);
    const Generation expected = alone(wanted);
    for (int time = 0; time < 2; ++time) {
        PromptStore store({.folder = dir.file("prefixes"), .identity = "tiny"});
        serve(2, 0, &store);
        EXPECT_EQ(submit(wanted).generation.get().tokens, expected.tokens);
        const ServiceState state = service_->state();
        service_.reset();
        EXPECT_EQ(state.n_loaded, time == 0 ? 0 : n_prompt - 1);
        EXPECT_EQ(state.n_reused, time == 0 ? 0 : n_prompt - 1 - runner_->pool().n_replay());
        EXPECT_EQ(store.n_files(), 1u);
        EXPECT_EQ(store.take_remarks(), std::vector<std::string>{});
    }
}

TEST_F(ServiceTest, EachAnswerIsAsAlone) {
    // The second pool is too small for all: some are preempted and computed again.
    for (const std::uint32_t n_shared_ctx : {0u, 500u}) {
        serve(8, n_shared_ctx);
        std::vector<Outcome> outcomes;
        for (std::uint32_t seed = 0; seed < 30; ++seed) outcomes.push_back(submit(request(seed)));
        for (std::uint32_t seed = 0; seed < 30; ++seed) {
            const Generation found = outcomes[seed].generation.get(), expected = alone(request(seed));
            EXPECT_EQ(found.tokens, expected.tokens) << seed;
            EXPECT_EQ(found.end, expected.end) << seed;
            EXPECT_EQ(found.answer, expected.answer) << seed;
        }
        const ServiceState state = service_->state();
        EXPECT_GT(state.n_reused, 0u) << "beginnings that are alike are computed once";
        EXPECT_EQ(state.n_preempted > 0, n_shared_ctx > 0);
        service_.reset();
        EXPECT_EQ(runner_->pool().pages().n_free(), runner_->pool().pages().n_pages());
    }
}

/// Without a pool of pages there is nothing to share: the next sequence writes over what the last one had.
TEST_F(ServiceTest, OneAtATimeWithoutPagesIsAsAlone) {
    serve(1);
    ASSERT_FALSE(runner_->pool().sizes().is_paged());
    std::vector<Outcome> outcomes;
    for (std::uint32_t seed = 0; seed < 12; ++seed) outcomes.push_back(submit(request(seed)));
    for (std::uint32_t seed = 0; seed < 12; ++seed)
        EXPECT_EQ(outcomes[seed].generation.get().tokens, alone(request(seed)).tokens) << seed;
    EXPECT_EQ(service_->state().n_reused, 0u);
}

TEST_F(ServiceTest, ACancelledOneEndsWithWhatItHas) {
    serve(4);
    ServiceRequest endless = request(2);
    endless.options.n_predict.reset();
    std::promise<void> begun;
    bool is_first = true;
    Outcome outcome = submit(endless, [&](const Segment&) {
        if (std::exchange(is_first, false)) begun.set_value();
    });
    const Outcome other = submit(request(4));
    begun.get_future().wait();
    service_->cancel(outcome.id);
    service_->cancel(outcome.id);
    service_->cancel(12345);
    const Generation generation = outcome.generation.get();
    EXPECT_TRUE(generation.end == EndReason::kInterrupted || generation.end == EndReason::kContextFull ||
                generation.end == EndReason::kEndToken);
    EXPECT_GT(generation.tokens.size(), 0u);
    const Generation alone_ = alone(endless);
    ASSERT_LE(generation.tokens.size(), alone_.tokens.size());
    EXPECT_TRUE(std::equal(generation.tokens.begin(), generation.tokens.end(), alone_.tokens.begin()));
}

TEST_F(ServiceTest, WhatCannotBeAnsweredIsRefusedAtOnce) {
    serve(2);
    const auto code = [&](ServiceRequest wanted) {
        try {
            submit(std::move(wanted));
        } catch (const Error& error) {
            return std::optional(error.code());
        }
        return std::optional<ErrorCode>();
    };
    EXPECT_EQ(code({.prompt = {}}), ErrorCode::kInvalidInput);
    EXPECT_EQ(code({.prompt = {-1}}), ErrorCode::kInvalidInput);
    EXPECT_EQ(code({.prompt = Tokens(401, 1)}), ErrorCode::kContextFull);
    ServiceRequest wrong = request(1);
    wrong.options.sampling.top_p = 3;
    EXPECT_EQ(code(wrong), ErrorCode::kUsage);
}

TEST_F(ServiceTest, AFullContextEndsAnAnswer) {
    serve(2);
    ServiceRequest full{.prompt = Tokens(400, 1)};
    Outcome outcome = submit(full);
    const Generation generation = outcome.generation.get();
    EXPECT_LE(generation.tokens.size(), 1u);
}

TEST_F(ServiceTest, ASinkThatThrowsFailsItsOwnRequestOnly) {
    serve(4);
    ServiceRequest wanted = request(6);
    wanted.options.n_predict = 30;
    Outcome failing = submit(wanted, [](const Segment&) { throw Error(ErrorCode::kIo, "pipe", "broken"); });
    Outcome other = submit(request(7));
    try {
        const Generation generation = failing.generation.get();
        EXPECT_TRUE(generation.answer.empty()) << "it had text, and its sink did not throw";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kIo);
    }
    EXPECT_EQ(other.generation.get().tokens, alone(request(7)).tokens);
}

TEST_F(ServiceTest, ItsEndFailsWhatIsUnderWay) {
    serve(2);
    std::vector<Outcome> outcomes;
    for (std::uint32_t seed = 0; seed < 12; ++seed) outcomes.push_back(submit(request(seed)));
    service_.reset();
    for (Outcome& outcome : outcomes) try {
            outcome.generation.get();
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
        }
    EXPECT_EQ(runner_->pool().pages().n_free(), runner_->pool().pages().n_pages());
}

/// The device is lost at one call after another: all begin again on the host, and say what they would have said.
TEST_F(ServiceTest, ALostDeviceCostsNoAnswer) {
    const SessionOptions wanted = options(4, 600);
    const Plan plan = placed_plan(model_.description, wanted.sizes(), Placing::kRandom, 12);
    std::vector<Generation> expected;
    for (std::uint32_t seed = 0; seed < 6; ++seed) expected.push_back(alone(request(seed)));
    const auto serve_on = [&](sim::SimFaults faults) {
        const auto device = sim::make_sim_device(
            {.budget = {1ull << 28}, .limits = wanted.limits(), .faults = std::move(faults)}, ledger_);
        {
            const Model model = Model::random(model_.description, plan, 7, ledger_, {device.get()});
            Runner runner(model, wanted, ledger_);
            service_.emplace(runner, model_.tokenizer, ServiceOptions{.rate = StepRate(0, 1e-6)});
            std::vector<Outcome> outcomes;
            for (std::uint32_t seed = 0; seed < 6; ++seed) outcomes.push_back(submit(request(seed)));
            for (std::uint32_t seed = 0; seed < 6; ++seed)
                EXPECT_EQ(outcomes[seed].generation.get().tokens, expected[seed].tokens) << seed;
            service_.reset();
            EXPECT_EQ(runner.pool().pages().n_free(), runner.pool().pages().n_pages());
        }
        return device->counts().calls;
    };
    const std::uint64_t n_loading = [&] {
        const auto device = sim::make_sim_device({.budget = {1ull << 28}, .limits = wanted.limits()}, ledger_);
        const Model model = Model::random(model_.description, plan, 7, ledger_, {device.get()});
        const Runner runner(model, wanted, ledger_);
        return device->counts().calls;
    }();
    const std::uint64_t n = serve_on({});
    ASSERT_GT(n, n_loading + 50);
    for (std::uint64_t i = 1; i <= 20; ++i) {
        const std::uint64_t call = n_loading + i * (n - n_loading) / 21;
        SCOPED_TRACE("call " + std::to_string(call) + " of " + std::to_string(n));
        serve_on({.lose_at_call = call});
    }
}

TEST_F(ServiceTest, TheSecondTimeAPromptIsFound) {
    serve(4);
    ServiceRequest long_one{.prompt = Tokens()};
    for (std::int32_t i = 0; i < 300; ++i)
        long_one.prompt.push_back((i * 31 + 5) % static_cast<std::int32_t>(model_.model.hyper().n_vocab));
    long_one.options.n_predict = 3;
    long_one.options.sampling.temperature = 0;
    const Generation first = submit(long_one).generation.get(), second = submit(long_one).generation.get();
    EXPECT_EQ(first.tokens, second.tokens);
    EXPECT_EQ(first.stats.n_reused, 0u);
    EXPECT_GE(second.stats.n_reused, 290u);
    long_one.scope = 1;
    EXPECT_EQ(submit(long_one).generation.get().stats.n_reused, 0u) << "another's prompts are not looked at";
}

}  // namespace
}  // namespace lfm::test
