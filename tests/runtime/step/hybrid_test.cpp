// Layers and experts on a device and on the host in any mixture give what the host alone gives.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>

#include "backends/sim/sim_device.h"
#include "memory/error.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/nmse.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
    "n_expert_used=3,n_vocab=200:F16";
constexpr std::uint32_t kTokens = 40;

std::vector<std::int32_t> some_tokens(std::size_t n) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 200));
    return tokens;
}

/// A prompt in steps of n_batch, then single tokens: all logits.
std::vector<float> run(Session& session, std::uint32_t n_prompt = kTokens - 6) {
    const auto tokens = some_tokens(kTokens);
    std::vector<float> logits;
    const auto keep = [&](std::size_t, std::span<const float> rows) {
        logits.insert(logits.end(), rows.begin(), rows.end());
    };
    session.append_all(std::span(tokens).first(n_prompt), keep);
    for (std::size_t i = n_prompt; i < tokens.size(); ++i) session.append_all(std::span(tokens).subspan(i, 1), keep);
    return logits;
}

struct Bed {
    explicit Bed(const std::string& shape = kMoe) : description(describe_shape(shape)) {}

    SessionOptions options(std::uint32_t n_batch) const {
        return {.n_ctx = 64, .n_batch = n_batch, .n_outputs = n_batch, .n_threads = 2};
    }
    std::vector<float> on_host(std::uint32_t n_batch) {
        const Model model = Model::random(description, make_host_plan(description, {}), 3, ledger);
        Session session(model, options(n_batch), ledger);
        return run(session);
    }
    std::unique_ptr<sim::SimDevice> device(std::uint32_t n_batch, Bytes budget = {1ull << 30}) {
        return sim::make_sim_device({.budget = budget, .limits = {.n_batch = n_batch, .n_ctx = 512}}, ledger);
    }

    Ledger ledger;
    ModelDescription description;
};

TEST(Hybrid, AnyPlacementGivesTheHostsLogits) {
    Bed bed;
    constexpr std::uint32_t kBatch = 16;
    const auto expected = bed.on_host(kBatch);
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const auto device = bed.device(kBatch);
        const Plan plan = placed_plan(bed.description, {.n_ctx = 64, .n_batch = kBatch}, Placing::kRandom, seed);
        const Model model = Model::random(bed.description, plan, 3, bed.ledger, {device.get()});
        SessionOptions options = bed.options(kBatch);
        if (seed % 3 == 0) options.adaptation = Adaptation::kOff;
        if (seed % 2 == 0)  // copying costs nothing: every missing expert travels
            options.expert_times.assign(bed.description.hyper.n_layer, ExpertTimes{.host = 1, .host_while_copying = 1});
        Session session(model, options, bed.ledger);
        const auto logits = run(session);
        ASSERT_EQ(logits.size(), expected.size());
        EXPECT_LE(nmse(logits, expected), 1e-9);
        session.reset();
        const auto again = run(session);
        // Sums are rounded in another order where experts have moved.
        if (options.adaptation == Adaptation::kOff) {
            EXPECT_EQ(again, logits) << "the second request";
        } else {
            EXPECT_LE(nmse(again, logits), 1e-9) << "the second request";
        }
    }
}

TEST(Hybrid, EverythingOnTheDevice) {
    Bed bed;
    const auto device = bed.device(16);
    const Plan plan = placed_plan(bed.description, {.n_ctx = 64, .n_batch = 16}, Placing::kAllOnDevice);
    const Model model = Model::random(bed.description, plan, 3, bed.ledger, {device.get()});
    Session session(model, bed.options(16), bed.ledger);
    EXPECT_LE(nmse(run(session), bed.on_host(16)), 1e-9);
}

TEST(Hybrid, ACheckpointHoldsTheDevicesStateToo) {
    Bed bed;
    const auto device = bed.device(16);
    const Plan plan = placed_plan(bed.description, {.n_ctx = 64, .n_batch = 16}, Placing::kRandom, 7);
    const Model model = Model::random(bed.description, plan, 3, bed.ledger, {device.get()});
    Session session(model, bed.options(16), bed.ledger);
    const auto tokens = some_tokens(20);
    session.append(std::span(tokens).first(10));
    const Checkpoint checkpoint = session.checkpoint();
    const auto copy = [](std::span<const float> logits) { return std::vector<float>(logits.begin(), logits.end()); };
    const auto first = copy(session.append(std::span(tokens).subspan(10)));
    session.restore(checkpoint);
    EXPECT_EQ(copy(session.append(std::span(tokens).subspan(10))), first);
}

/// Experts 0 to 3 for some time, then 4 to 7.
std::int32_t shifting(std::uint32_t, std::uint32_t position, std::uint32_t choice) {
    const std::uint32_t first = position < 200 ? 0 : 4;
    return static_cast<std::int32_t>(first + (position + choice) % 4);
}

struct Followed {
    std::vector<float> last;
    CacheHits hits;
    Bytes fetched;
};

Followed follow(Bed& bed, const Plan& plan, Adaptation adaptation) {
    const auto device = bed.device(16);
    const Model model = Model::random(bed.description, plan, 3, bed.ledger, {device.get()});
    SessionOptions options = bed.options(16);
    options.n_ctx = 512;
    options.adaptation = adaptation;
    Session session(model, options, bed.ledger);
    session.force_experts(shifting);
    std::span<const float> logits;
    const auto tokens = some_tokens(400);
    for (std::size_t i = 0; i < tokens.size(); ++i) logits = session.append(std::span(tokens).subspan(i, 1));
    const ExpertResidency& residency = session.engine().residency();
    return {{logits.begin(), logits.end()}, residency.hits(), residency.fetched()};
}

TEST(Hybrid, TheCacheFollowsTheRouting) {
    Bed bed;
    Plan plan = placed_plan(bed.description, {.n_ctx = 512, .n_batch = 16}, Placing::kAllOnDevice);
    std::ranges::fill(plan.experts, kHost);
    std::ranges::fill(plan.n_slots, 0u);
    for (std::uint32_t layer = 2; layer < 6; ++layer) plan.n_slots[layer] = 4;
    const Followed fixed = follow(bed, plan, Adaptation::kOff);
    const Followed followed = follow(bed, plan, Adaptation::kOn);
    EXPECT_EQ(fixed.fetched.value, 0u);
    EXPECT_NEAR(fixed.hits.rate(), 0.5, 0.01) << "0 to 3 were there from the beginning";
    EXPECT_GT(followed.hits.rate(), 0.9);
    EXPECT_GT(followed.fetched.value, 0u);
    EXPECT_LE(nmse(followed.last, fixed.last), 1e-9);
    EXPECT_EQ(follow(bed, plan, Adaptation::kOn).last, followed.last) << "fetches show at fixed steps";
}

/// 500 steps, with LFM_FULL=1 10 000: experts change places after almost every one.
TEST(Hybrid, ManyStepsWithRandomResidency) {
    const std::uint32_t n_steps = std::getenv("LFM_FULL") != nullptr ? 10'000 : 500;
    Bed bed;
    Plan plan = placed_plan(bed.description, {.n_ctx = 512, .n_batch = 16}, Placing::kAllOnDevice);
    std::ranges::fill(plan.experts, kHost);
    for (std::uint32_t layer = 2; layer < 6; ++layer) plan.n_slots[layer] = 3;
    plan.n_staged = 4;
    const auto device = bed.device(16);
    const Model model = Model::random(bed.description, plan, 3, bed.ledger, {device.get()});
    SessionOptions options = bed.options(16);
    options.n_ctx = 512;
    Session session(model, options, bed.ledger);
    std::mt19937 random(5);
    std::uint32_t favourite = 0;
    session.force_experts([&](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
        return static_cast<std::int32_t>((favourite + layer + choice * (1 + position % 2)) % 8);
    });
    const auto tokens = some_tokens(16);
    for (std::uint32_t step = 0; step < n_steps; ++step) {
        if (step % 5 == 0) favourite = static_cast<std::uint32_t>(random() % 8);
        if (session.position() + tokens.size() > session.n_ctx()) session.reset();
        const std::size_t n = random() % 20 == 0 ? tokens.size() : 1;  // a long step now and then: experts travel
        for (const float logit : session.append(std::span(tokens).first(n))) ASSERT_TRUE(std::isfinite(logit));
    }
    EXPECT_GT(session.engine().residency().fetched().value, 0u);
}

TEST(Hybrid, APlanForADeviceNeedsOne) {
    Bed bed;
    const Plan plan = placed_plan(bed.description, {.n_ctx = 64, .n_batch = 16}, Placing::kAllOnDevice);
    EXPECT_THROW(Model::random(bed.description, plan, 3, bed.ledger), Error);
}

}  // namespace
}  // namespace lfm::test
