// What the tests of a failing device share: a small model placed in every way there is, on a simulated device.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends/sim/sim_device.h"
#include "memory/error.h"
#include "planner/model/shape.h"
#include "runtime/session/placed.h"
#include "tests/nmse.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {

inline constexpr const char* kMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=6,"
    "n_expert_used=2,n_vocab=200:F16";
inline constexpr std::uint32_t kPrompt = 20, kDecoded = 6;
inline constexpr Bytes kBudget{std::uint64_t{64} << 20};
inline constexpr Bytes kContext{std::uint64_t{1} << 20};
inline constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 16};
/// Some layers and experts on the device, some with slots, some experts that travel.
inline constexpr std::uint32_t kPlacement = 12;

/// Ends the program when a case hangs, so that the others are heard of at least; a slow one fails.
class Watchdog {
public:
    explicit Watchdog(std::string what) : what_(std::move(what)), thread_([this] { watch(); }) {}
    ~Watchdog() {
        {
            const std::lock_guard lock(mutex_);
            done_ = true;
        }
        changed_.notify_one();
        thread_.join();
        EXPECT_LE(std::chrono::steady_clock::now() - begin_, std::chrono::seconds(5)) << what_;
    }

private:
    void watch() {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, std::chrono::seconds(60), [&] { return done_; })) return;
        std::cerr << what_ << ": hangs\n";
        std::abort();
    }

    std::string what_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::thread thread_;
};

inline std::vector<std::int32_t> some_tokens() {
    std::vector<std::int32_t> tokens;
    for (std::uint32_t i = 0; i < kPrompt + kDecoded; ++i)
        tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 200));
    return tokens;
}

/// The prompt, then single tokens: each row's logits as they come.
inline void run(Session& session, std::vector<float>& logits) {
    const auto tokens = some_tokens();
    const auto keep = [&](std::size_t, std::span<const float> rows) {
        logits.insert(logits.end(), rows.begin(), rows.end());
    };
    session.append_all(std::span(tokens).first(kPrompt), keep);
    for (std::size_t i = kPrompt; i < tokens.size(); ++i) session.append_all(std::span(tokens).subspan(i, 1), keep);
}
inline std::vector<float> run(Session& session) {
    std::vector<float> logits;
    run(session, logits);
    return logits;
}

class DeviceFaults : public testing::Test {
protected:
    std::unique_ptr<sim::SimDevice> device(const sim::SimFaults& faults, sim::SimOptions options = {}) {
        options.budget = kBudget;
        options.limits = {kSizes.n_batch, kSizes.n_ctx};
        options.context = kContext;
        options.faults = faults;
        return sim::make_sim_device(options, ledger_);
    }
    SessionOptions options(AfterLoss after_loss = AfterLoss::kGoOnWithHost) const {
        SessionOptions options{
            .n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_outputs = kSizes.n_outputs, .n_threads = 2};
        options.after_loss = after_loss;
        // Copying costs nothing: every missing expert travels.
        options.expert_times.assign(description_.hyper.n_layer, ExpertTimes{.host = 1, .host_while_copying = 1});
        return options;
    }
    Model load(const Plan& plan, Device* device) { return Model::random(description_, plan, 3, ledger_, {device}); }

    /// Loads and makes the session, then `use`; all of it is gone at the end.
    void with_session(sim::SimDevice& device, const SessionOptions& options, const std::function<void(Session&)>& use) {
        const Model model = load(plan_, &device);
        Session session(model, options, ledger_);
        use(session);
    }

    const std::vector<float>& on_host() {
        if (!on_host_.empty()) return on_host_;
        const Model model = load(make_host_plan(description_, kSizes), nullptr);
        Session session(model, options(), ledger_);
        on_host_ = run(session);
        return on_host_;
    }
    /// The counts of a run without faults.
    sim::SimCounts counts(const std::function<void(Session&)>& use) {
        const auto sound = device({});
        with_session(*sound, options(), use);
        return sound->counts();
    }

    /// Programs stay recorded, with their scratch; all else is given back.
    void expect_no_leak(const sim::SimDevice& device) const {
        const Bytes scratch = ledger_.total(device.id(), Purpose::kScratch);
        EXPECT_EQ(ledger_.total(device.id()), kContext + scratch);
        EXPECT_EQ(device.allocated(), kContext + scratch);
        EXPECT_EQ(ledger_.total(kHost), Bytes{});
    }

    /// Every third by default.
    static std::uint64_t stride() { return std::getenv("LFM_FULL") != nullptr ? 1 : 3; }

    Ledger ledger_;
    ModelDescription description_ = describe_shape(kMoe);
    Plan plan_ = placed_plan(description_, kSizes, Placing::kRandom, kPlacement);
    std::vector<float> on_host_;
};

}  // namespace lfm::test
