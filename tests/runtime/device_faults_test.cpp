// A device that refuses memory, is lost, is slow, shrinks or computes NaN, at each place in turn: typed errors, no
// leak, no hang, no wrong token.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <mutex>
#include <thread>

#include "backends/sim/sim_device.h"
#include "memory/error.h"
#include "planner/shape.h"
#include "runtime/placed_session.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=6,"
    "n_expert_used=2,n_vocab=200:F16";
constexpr std::uint32_t kPrompt = 20, kDecoded = 6;
constexpr Bytes kBudget{std::uint64_t{64} << 20};
constexpr Bytes kContext{std::uint64_t{1} << 20};
constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 16};
/// Some layers and experts on the device, some with slots, some experts that travel.
constexpr std::uint32_t kPlacement = 12;

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

double nmse(std::span<const float> a, std::span<const float> b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        norm += double{b[i]} * b[i];
    }
    return error / norm;
}

std::vector<std::int32_t> some_tokens() {
    std::vector<std::int32_t> tokens;
    for (std::uint32_t i = 0; i < kPrompt + kDecoded; ++i)
        tokens.push_back(static_cast<std::int32_t>((1 + i * 7919) % 200));
    return tokens;
}

/// The prompt, then single tokens: each row's logits as they come.
void run(Session& session, std::vector<float>& logits) {
    const auto tokens = some_tokens();
    const auto keep = [&](std::size_t, std::span<const float> rows) {
        logits.insert(logits.end(), rows.begin(), rows.end());
    };
    session.append_all(std::span(tokens).first(kPrompt), keep);
    for (std::size_t i = kPrompt; i < tokens.size(); ++i) session.append_all(std::span(tokens).subspan(i, 1), keep);
}
std::vector<float> run(Session& session) {
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

TEST_F(DeviceFaults, ThePlacementUsesEveryWayThereIs) {
    const auto sound = device({});
    with_session(*sound, options(), [&](Session& session) {
        std::string nodes;
        for (const std::string& node : session.engine().executor().describe()) nodes += node + '\n';
        for (const char* part : {"(host)", "(device)", "beside the device", "(bus)"})
            EXPECT_NE(nodes.find(part), std::string::npos) << part << '\n' << nodes;
        EXPECT_LE(nmse(run(session), on_host()), 1e-9);
        EXPECT_GT(session.engine().totals().streamed, Bytes{});
        EXPECT_GT(session.engine().residency().fetched(), Bytes{});
    });
    expect_no_leak(*sound);
}

TEST_F(DeviceFaults, EveryAllocationRefusedInTurn) {
    const std::uint64_t n = counts([](Session&) {}).allocations;
    ASSERT_GT(n, 8u);
    for (const sim::Recurrence recurrence : {sim::Recurrence::kOnce, sim::Recurrence::kForGood})
        for (std::uint64_t i = 1; i <= n; ++i) {
            SCOPED_TRACE("allocation " + std::to_string(i) + " of " + std::to_string(n));
            const Watchdog watchdog("allocation " + std::to_string(i));
            const auto refusing = device({.refuse_allocation = i, .refusal = recurrence});
            std::string refusal;
            try {
                with_session(*refusing, options(), [](Session&) {});
                ADD_FAILURE() << "expected an error";
            } catch (const Error& error) {
                EXPECT_EQ(error.code(), ErrorCode::kShortfall) << error.what();
                refusal = error.what();
            }
            expect_no_leak(*refusing);
            // A device keeps the programs of a session that is gone, so a session that came to recording ends its use.
            const bool recorded = refusal.find("scratch") != std::string::npos;
            refusing->inject({});
            const auto fresh = recorded ? device({}) : nullptr;
            with_session(recorded ? *fresh : *refusing, options(),
                         [&](Session& session) { EXPECT_LE(nmse(run(session), on_host()), 1e-9); });
        }
}

TEST_F(DeviceFaults, EveryCallLostInTurnAndTheHostGoesOn) {
    const std::uint64_t n = counts([](Session& session) { run(session); }).calls;
    on_host();
    std::uint64_t n_load = 0, n_recovered = 0, n_late = 0;
    for (std::uint64_t i = 1; i <= n; ++i) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        const auto failing = device({.lose_at_call = i});
        bool loaded = false;
        try {
            with_session(*failing, options(), [&](Session& session) {
                loaded = true;
                const auto logits = run(session);
                ASSERT_EQ(logits.size(), on_host().size());
                EXPECT_LE(nmse(logits, on_host()), 1e-9);
                if (!session.loss()) {  // after the last wait, or not at all: threads may take fewer calls
                    ++n_late;
                    EXPECT_GT(i, n / 2);
                    return;
                }
                ++n_recovered;
                EXPECT_NE(session.loss()->find("lost on demand"), std::string::npos) << *session.loss();
                session.reset();  // the second request
                EXPECT_LE(nmse(run(session), on_host()), 1e-9);
            });
        } catch (const Error& error) {
            EXPECT_FALSE(loaded) << error.what();
            EXPECT_EQ(error.code(), ErrorCode::kDeviceLost) << error.what();
            ++n_load;
        }
        EXPECT_EQ(ledger_.total(kHost), Bytes{});
    }
    std::cout << n << " calls: " << n_load << " tried while loading, " << n_recovered << " recovered from, " << n_late
              << " not noticed any more\n";
    EXPECT_GT(n_load, 0u);
    EXPECT_GT(n_recovered, 10 * n_late);
}

TEST_F(DeviceFaults, EveryCallLostInTurnAndThrown) {
    const std::uint64_t n = counts([](Session& session) { run(session); }).calls;
    on_host();
    for (std::uint64_t i = 2; i <= n; i += stride()) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        const auto failing = device({.lose_at_call = i});
        std::vector<float> logits;
        try {
            with_session(*failing, options(AfterLoss::kThrow), [&](Session& session) {
                run(session, logits);
                EXPECT_GT(i, n / 2);  // after the last wait, as above
            });
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kDeviceLost) << error.what();
        }
        // What was handed out before is right.
        if (!logits.empty()) EXPECT_LE(nmse(logits, std::span(on_host()).first(logits.size())), 1e-9);
        EXPECT_EQ(ledger_.total(kHost), Bytes{});
    }
}

TEST_F(DeviceFaults, LossWhileLoadingEndsOnTheHost) {
    const std::uint64_t n = counts([](Session&) {}).calls;
    for (std::uint64_t i = 1; i <= n; ++i) {
        SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("call " + std::to_string(i));
        std::string notes;
        PlacedSession placed(
            {.model = description_,
             .session = options(),
             .plan = plan_,
             .open = [&](const DeviceOptions&) { return device({.lose_at_call = i}); },
             .load = [&](const Plan& plan,
                         const DeviceLoad& to) { return Model::random(description_, plan, 3, ledger_, to); },
             .progress = {},
             .note = [&](const std::string& text) { notes += text; }},
            ledger_);
        EXPECT_NE(notes.find("lost on demand"), std::string::npos) << notes;
        EXPECT_EQ(placed.device(), nullptr);
        EXPECT_LE(nmse(run(placed.session()), on_host()), 1e-9);
    }
}

TEST_F(DeviceFaults, ACheckpointOutlivesTheDevice) {
    const auto tokens = some_tokens();
    const auto failing = device({});
    with_session(*failing, options(), [&](Session& session) {
        session.append(std::span(tokens).first(10));
        const Checkpoint checkpoint = session.checkpoint();
        const auto rest = std::span(tokens).subspan(10);
        const auto logits = session.append(rest);
        const std::vector<float> expected(logits.begin(), logits.end());
        session.restore(checkpoint);
        failing->inject({.lose_at_call = failing->counts().calls + 1});
        EXPECT_LE(nmse(session.append(rest), expected), 1e-9);
        ASSERT_TRUE(session.loss());
        session.restore(checkpoint);
        EXPECT_LE(nmse(session.append(rest), expected), 1e-9);
    });
}

TEST_F(DeviceFaults, SlowCopiesChangeOnlyTime) {
    const sim::SimRates rates{.copy_seconds = 1e-3, .h2d_seconds_per_byte = 1e-9};
    std::vector<float> expected;
    double seconds[2] = {};
    for (const double slowdown : {1.0, 100.0}) {
        const Watchdog watchdog("slow copies");
        const auto slow = device({.copy_slowdown = slowdown}, {.rates = rates});
        with_session(*slow, options(), [&](Session& session) {
            const auto logits = run(session);
            slow->finish_step();
            seconds[slowdown > 1] = slow->step_seconds();
            if (expected.empty()) expected = logits;
            EXPECT_EQ(logits, expected);
        });
    }
    EXPECT_GT(seconds[1], 10 * seconds[0]);
}

TEST_F(DeviceFaults, ASmallerBudgetTakesSlotsAndNoToken) {
    Bytes used;
    {
        const auto sound = device({});
        with_session(*sound, options(), [&](Session&) { used = sound->allocated(); });
    }
    const std::uint64_t n_steps = counts([](Session& session) { run(session); }).steps;
    for (std::uint64_t step = 1; step <= n_steps; ++step)
        for (const Bytes shrunk : {Bytes{used.value - 1}, Bytes{}}) {
            SCOPED_TRACE("step " + std::to_string(step) + ", " + format_bytes(shrunk));
            const Watchdog watchdog("step " + std::to_string(step));
            const auto shrinking = device({.shrink_at_step = step, .shrunk_budget = shrunk});
            with_session(*shrinking, options(), [&](Session& session) {
                EXPECT_LE(nmse(run(session), on_host()), 1e-9);
                EXPECT_FALSE(session.loss());
                EXPECT_EQ(shrinking->budget(), shrunk);
                if (step == n_steps) return;  // seen at the step after
                EXPECT_GT(session.engine().totals().given_up, Bytes{});
                if (shrunk.value > 0) EXPECT_LE(shrinking->allocated(), shrunk);
            });
            expect_no_leak(*shrinking);
        }
}

/// Either an error says so, or the numbers show it, or they are right all the same.
TEST_F(DeviceFaults, NanIsNeverHiddenBehindOtherNumbers) {
    const std::uint64_t n = counts([](Session& session) { run(session); }).operations;
    std::uint64_t n_shown = 0, n_harmless = 0, n_errors = 0;
    const std::size_t n_vocab = description_.hyper.n_vocab;
    for (std::uint64_t i = 1; i <= n; i += stride()) {
        SCOPED_TRACE("operation " + std::to_string(i) + " of " + std::to_string(n));
        const Watchdog watchdog("operation " + std::to_string(i));
        const auto wrong = device({.nan_in_operation = i});
        std::vector<float> logits;
        try {
            with_session(*wrong, options(), [&](Session& session) { run(session, logits); });
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()), "");
            ++n_errors;
        }
        bool shown = false;
        for (std::size_t row = 0; row + n_vocab <= logits.size(); row += n_vocab) {
            const std::span found = std::span(logits).subspan(row, n_vocab);
            if (std::ranges::all_of(found, [](float logit) { return std::isfinite(logit); }))
                EXPECT_LE(nmse(found, std::span(on_host()).subspan(row, n_vocab)), 1e-9) << "row " << row / n_vocab;
            else
                shown = true;
        }
        ++(shown ? n_shown : n_harmless);
    }
    std::cout << n << " operations: " << n_shown << " times the logits show it, " << n_harmless << " times not, "
              << n_errors << " errors\n";
}

TEST_F(DeviceFaults, CopiesThatCannotRunBesideWorkAreNotAskedFor) {
    const Watchdog watchdog("copies beside work");
    sim::SimOptions no_copies;
    no_copies.device.copies_beside_work = false;
    const auto plain = device({}, no_copies);
    with_session(*plain, options(), [&](Session& session) {
        EXPECT_LE(nmse(run(session), on_host()), 1e-9);
        EXPECT_EQ(session.engine().totals().streamed, Bytes{});
    });
}

/// Copies into slots go on after a step. They must not outlive what they read and write.
TEST_F(DeviceFaults, ASessionMayEndWhileExpertsTravel) {
    // Experts that take long to copy, few slots, and other experts in every step.
    description_ = describe_shape(
        "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=256,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=768,n_expert=16,"
        "n_expert_used=4,n_vocab=200:F32");
    plan_ = placed_plan(description_, kSizes, Placing::kAllOnDevice);
    for (std::uint32_t layer = description_.hyper.n_layer_dense; layer < description_.hyper.n_layer; ++layer) {
        std::fill_n(plan_.experts.begin() + layer * 16, 16, kHost);
        plan_.n_slots[layer] = 6;
    }
    plan_.decode_time.part.front() = 1;  // a second: many copies fit beside a step
    const auto tokens = some_tokens();
    Bytes fetched;
    for (std::size_t n = 2; n < kPrompt; n += 3) {
        const Watchdog watchdog(std::to_string(n) + " tokens");
        const auto sound = device({});
        SessionOptions how = options();
        how.expert_times.assign(description_.hyper.n_layer,
                                ExpertTimes{.host = 1, .host_while_copying = 1, .copy = 1e-3});
        with_session(*sound, how, [&](Session& session) {
            session.force_experts([](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
                return static_cast<std::int32_t>((layer + position / 3 * 4 + choice) % 16);
            });
            for (std::size_t i = 0; i < n; ++i) session.append(std::span(tokens).subspan(i, 1));
            fetched += session.engine().residency().fetched();
        });
        expect_no_leak(*sound);
    }
    EXPECT_GT(fetched, Bytes{});
}

}  // namespace
}  // namespace lfm::test
