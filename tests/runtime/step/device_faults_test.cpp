// A device that is slow, computes NaN, or is left in the middle of copies: no leak, no hang, no wrong token.
#include "tests/runtime/device_faults.h"

#include <algorithm>
#include <cmath>

namespace lfm::test {
namespace {

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
